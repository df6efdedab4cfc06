//! The guards of the machine by name, so that a test can take one away and show that it is needed. Production has them all.

/// A rule that the machine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Current and next are published together before the next is installed.
    Union,
    /// A certificate is installed only when every RRset that may be cached matches it.
    Cached,
    /// Every authoritative server has to show the new set.
    EveryServer,
    /// The wait starts when the last server shows it.
    LastServer,
    /// The wait is two TTLs, since caches may be chained.
    SecondTtl,
    /// There is a wait at all.
    Hold,
    /// A server that can't be reached may serve until EXPIRE.
    DeadServer,
    /// And what it served then is cached for two TTLs.
    DeadCaches,
    /// A server that the zone names no more is asked by resolvers for a while.
    Gone,
    /// A server that is seen with old data again starts the wait again.
    SeenAgain,
    /// A set that was out before counts as shown only with the serial that it came back with.
    Serial,
    /// Nothing is asked for before it is known what is out from before.
    Told,
    /// What is withdrawn is cached for a while.
    Withdrawn,
    /// The servers are asked again just before an installation.
    Fresh,
    /// Nothing is installed while it is unknown what an address presents.
    LiveKnown,
    /// The hook has to have run before the new certificate counts as served.
    Hook,
    /// Every address has to present the new certificate.
    EveryAddress,
    /// The old record stays for the drain.
    Drain,
    /// A sighting of the old certificate starts the drain again.
    Presented,
    /// An address that can't be asked may present the old certificate.
    Unasked,
    /// What somebody else swapped in is published at once.
    SwapUnion,
    /// And what it replaced is not removed.
    SwapKeeps,
    /// New parameters hold for the current key too.
    SameKey,
    /// Time is what the slower of wall and boot-time clock says.
    BootClock,
    /// Across boots, only a synchronised wall clock counts.
    Synchronised,
}

impl Guard {
    /// All of them.
    pub const ALL: [Guard; 25] = [
        Guard::Union,
        Guard::Cached,
        Guard::EveryServer,
        Guard::LastServer,
        Guard::SecondTtl,
        Guard::Hold,
        Guard::DeadServer,
        Guard::DeadCaches,
        Guard::Gone,
        Guard::SeenAgain,
        Guard::Serial,
        Guard::Told,
        Guard::Withdrawn,
        Guard::Fresh,
        Guard::LiveKnown,
        Guard::Hook,
        Guard::EveryAddress,
        Guard::Drain,
        Guard::Presented,
        Guard::Unasked,
        Guard::SwapUnion,
        Guard::SwapKeeps,
        Guard::SameKey,
        Guard::BootClock,
        Guard::Synchronised,
    ];
}

/// The guards that are in force.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    without: Option<Guard>,
}

impl Guards {
    /// All of them but one.
    pub fn without(guard: Guard) -> Guards {
        Guards { without: Some(guard) }
    }

    pub(super) fn on(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }
}
