//! One question of class IN: the message that asks it, and whether another message answers it.

use super::header::{CLASS_IN, HEADER, OPCODE, QR};
use super::{Name, Rtype};

/// A question as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(Vec<u8>);

impl Question {
    /// Of a name's records of one type.
    pub fn new(name: &Name, rtype: Rtype) -> Question {
        Question([name.as_wire(), &rtype.0.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat())
    }

    /// A message of it alone; `flags` is the third octet, opcode and AA.
    pub fn message(&self, id: u16, flags: u8) -> Vec<u8> {
        [&id.to_be_bytes()[..], &[flags, 0, 0, 1, 0, 0, 0, 0, 0, 0], &self.0].concat()
    }

    /// Whether it, and no other, stands in a message. Servers may write the name in another case.
    pub fn stands_in(&self, message: &[u8]) -> bool {
        let question = message.get(HEADER..HEADER + self.0.len());
        message.get(4..6) == Some(&[0, 1]) && question.is_some_and(|question| question.eq_ignore_ascii_case(&self.0))
    }
}

/// Whether a message is a response to one with this id and opcode; `opcode` as it stands in the third octet.
pub fn is_response(message: &[u8], id: u16, opcode: u8) -> bool {
    let head = message.first_chunk::<HEADER>();
    head.is_some_and(|head| head[..2] == id.to_be_bytes() && head[2] & (QR | OPCODE) == QR | opcode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::header::{AA, NOTIFY};

    #[test]
    fn a_response_has_the_id_the_opcode_and_the_question() {
        let question = Question::new(&"example.org.".parse().unwrap(), Rtype::SOA);
        let mut message = question.message(0x1234, NOTIFY | AA);
        assert!(!is_response(&message, 0x1234, NOTIFY), "a request is none");
        message[2] |= QR;
        assert!(is_response(&message, 0x1234, NOTIFY) && question.stands_in(&message));
        assert!(!is_response(&message, 0x1235, NOTIFY) && !is_response(&message, 0x1234, 0));
        let cased: Vec<u8> = message.iter().map(u8::to_ascii_uppercase).collect();
        assert!(question.stands_in(&cased));
        for length in 0..message.len() {
            assert!(!question.stands_in(&message[..length]), "cut to {length} octets");
            assert!(length >= HEADER || !is_response(&message[..length], 0x1234, NOTIFY));
        }
        for other in [("example.com.", Rtype::SOA), ("example.org.", Rtype::NS)] {
            assert!(!Question::new(&other.0.parse().unwrap(), other.1).stands_in(&message));
        }
        message[5] = 2;
        assert!(!question.stands_in(&message), "two questions");
    }
}
