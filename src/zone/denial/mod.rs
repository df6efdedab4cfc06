//! Authenticated denial of existence: which names a zone has and which types they have, as a signed chain.
//!
//! NSEC (RFC 4034 section 4) links names in canonical order, NSEC3 (RFC 5155) links their hashes. The same expectation of a chain
//! serves the signer, which makes it, and the check of a zone that was signed elsewhere.

pub mod nsec;
pub mod nsec3;

use super::contents::Contents;
use super::tree::Node;
use crate::dns::{Name, Rdata, Rtype, name};
use nsec3::Parameters;

/// How absence is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// By NSEC: cheap, and the zone can be walked.
    #[default]
    Nsec,
    /// By NSEC3.
    Nsec3(Parameters),
}

impl Denial {
    /// What RFC 9276 advises against.
    pub fn warnings(&self) -> Vec<String> {
        let Denial::Nsec3(Parameters { iterations, salt, opt_out }) = self else { return Vec::new() };
        let mut warnings = Vec::new();
        if *iterations > 0 {
            let risk = if *iterations > nsec3::RISKY_ITERATIONS {
                ", and resolvers may take the zone for unsigned"
            } else {
                ""
            };
            warnings.push(format!(
                "nsec3-iterations = {iterations} makes every answer dearer and hides nothing better{risk}; 0 is right (RFC 9276 section 3.1)"
            ));
        }
        if !salt.is_empty() {
            warnings.push("nsec3-salt hides nothing better; \"-\" is right (RFC 9276 section 3.1)".to_owned());
        }
        if *opt_out {
            let text = "nsec3-opt-out leaves delegations without DS and wildcards' answers unproven; it is for zones with very many delegations (RFC 9276 section 3.1)";
            warnings.push(text.to_owned());
        }
        warnings
    }
}

/// What a file's own signatures prove absence by: NSEC3 where an NSEC3PARAM at the apex has its chain there (RFC 5155 section 4).
pub fn in_file(contents: &Contents) -> Denial {
    let origin = contents.origin();
    let nsec3param = contents.rrset(origin, Rtype::NSEC3PARAM);
    let parameters = nsec3param.into_iter().flat_map(|rrset| rrset.rdatas).find_map(|rdata| {
        let parameters = Parameters::from_nsec3param(&rdata)?;
        let apex = nsec3::owner(&parameters.hash(origin.as_wire()), origin)?;
        let rrset = contents.rrset(&apex, Rtype::NSEC3)?;
        let is_of = |rdata: &Rdata| nsec3::Fields::parse(rdata).is_some_and(|fields| fields.is_of(&parameters));
        rrset.rdatas.iter().any(is_of).then_some(parameters)
    });
    parameters.map_or(Denial::Nsec, Denial::Nsec3)
}

/// How a name stands in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The zone is authoritative for it.
    Authoritative,
    /// A zone cut: its NS belongs to the child, its DS to this zone.
    Cut,
    /// Below a zone cut.
    Glue,
    /// Below a DNAME, where nothing exists (RFC 6672 section 2.4).
    Hidden,
}

/// The owners of a zone in canonical order, and how they stand.
pub fn standings(contents: &Contents) -> impl Iterator<Item = (Node<'_>, Standing)> {
    standings_of(contents.nodes(), contents.origin().as_wire().len())
}

/// Some owners of a zone in canonical order, and how they stand where nothing but one of them makes those below it another's.
/// `apex_len` in octets.
pub fn standings_of<'a>(
    nodes: impl Iterator<Item = Node<'a>>,
    apex_len: usize,
) -> impl Iterator<Item = (Node<'a>, Standing)> {
    let mut above: Option<(Node<'_>, Standing)> = None;
    nodes.map(move |node| {
        if let Some((over, below)) = above
            && name::is_at_or_below(node.name(), over.name())
        {
            return (node, below);
        }
        above = below(node, apex_len).map(|below| (node, below));
        (node, if is_cut(node, apex_len) { Standing::Cut } else { Standing::Authoritative })
    })
}

/// How a name of the zone stands, be it there or not.
pub fn standing(contents: &Contents, name: &[u8]) -> Standing {
    let apex_len = contents.origin().as_wire().len();
    let above = contents.tree().barrier_above(name).and_then(|above| below(above, apex_len));
    let here = || contents.tree().node(name).is_some_and(|node| is_cut(node, apex_len));
    above.unwrap_or_else(|| if here() { Standing::Cut } else { Standing::Authoritative })
}

/// How names below a node stand because of it.
pub fn below(node: Node<'_>, apex_len: usize) -> Option<Standing> {
    match (is_cut(node, apex_len), node.has(Rtype::DNAME)) {
        (true, _) => Some(Standing::Glue),
        (false, true) => Some(Standing::Hidden),
        (false, false) => None,
    }
}

fn is_cut(node: Node<'_>, apex_len: usize) -> bool {
    node.name().len() > apex_len && node.has(Rtype::NS)
}

/// An owner that a chain has to speak of.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The name.
    pub name: Name,
    /// The types that the zone has there: at a cut NS and DS only (RFC 4035 section 2.3). RRSIG and the chain's own are not among them.
    pub types: Vec<Rtype>,
    /// Whether it is a zone cut.
    pub is_cut: bool,
}

impl Owner {
    /// An owner with those of its types that a bit map names; none when there are none.
    pub fn new(name: Name, types: impl Iterator<Item = Rtype>, is_cut: bool) -> Option<Owner> {
        let types: Vec<Rtype> = types.filter(|rtype| belongs(*rtype, is_cut)).collect();
        (!types.is_empty()).then_some(Owner { name, types, is_cut })
    }

    /// Whether any RRset here is signed, the chain's own left aside: a delegation without DS has none.
    pub fn is_signed(&self) -> bool {
        !self.is_cut || self.types.contains(&Rtype::DS)
    }

    /// The types that its NSEC3 names.
    pub fn hashed_types(&self) -> Vec<Rtype> {
        self.types.iter().copied().chain(self.is_signed().then_some(Rtype::RRSIG)).collect()
    }
}

fn belongs(rtype: Rtype, is_cut: bool) -> bool {
    match rtype {
        Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 => false,
        Rtype::NS | Rtype::DS => true,
        _ => !is_cut,
    }
}
