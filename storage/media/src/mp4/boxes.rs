//! The syntax of MP4: boxes within boxes, numbers in big-endian.

use crate::Invalid;

/// Four letters that name a box.
pub(super) type Name = [u8; 4];

/// Splits the body of a box into the boxes in it.
///
/// Ends without an error where fewer than eight bytes are left or a zero stands for "nothing more",
/// as QuickTime writes; a box that is larger than its parent is damage.
pub(super) fn children(body: &[u8]) -> Children<'_> {
    Children { rest: body }
}

pub(super) struct Children<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Children<'a> {
    type Item = Result<(Name, &'a [u8]), Invalid>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        let (short, name) = header(rest)?;
        let (start, size) = match short {
            0 => return None,
            1 => (16, long_size(rest)?),
            short => (8, u64::from(short)),
        };
        let Some(size) = usize::try_from(size)
            .ok()
            .filter(|size| (start..=rest.len()).contains(size))
        else {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Some(Err(Invalid::damaged(format!(
                "its part {name:?} is larger than the part around it"
            ))));
        };
        self.rest = &rest[size..];
        Some(Ok((name, &rest[start..size])))
    }
}

/// The short size and the name of a box.
pub(super) fn header(bytes: &[u8]) -> Option<(u32, Name)> {
    let size = bytes.first_chunk::<4>()?;
    let name = bytes.get(4..)?.first_chunk::<4>()?;
    Some((u32::from_be_bytes(*size), *name))
}

/// The size that follows the header of a box whose short size is 1.
pub(super) fn long_size(bytes: &[u8]) -> Option<u64> {
    bytes
        .get(8..)?
        .first_chunk::<8>()
        .map(|size| u64::from_be_bytes(*size))
}

/// The first child with a name.
pub(super) fn child<'a>(body: &'a [u8], name: &Name) -> Result<Option<&'a [u8]>, Invalid> {
    for part in children(body) {
        let (found, body) = part?;
        if found == *name {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

/// The first child with a name, which must be there.
pub(super) fn needed<'a>(body: &'a [u8], name: &Name) -> Result<&'a [u8], Invalid> {
    child(body, name)?.ok_or_else(|| {
        Invalid::damaged(format!(
            "its part {:?} is missing",
            String::from_utf8_lossy(name)
        ))
    })
}

/// Reads numbers from the front of a body.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Invalid> {
        let Some((taken, rest)) = self.rest.split_at_checked(bytes) else {
            return Err(Invalid::damaged("one of its parts is too short"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Invalid> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Invalid> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Invalid> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Invalid> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Invalid> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number that is long in version 1 of its box and short in version 0.
    pub(super) fn u32_or_u64(&mut self, version: u8) -> Result<u64, Invalid> {
        if version == 0 {
            self.u32().map(u64::from)
        } else {
            self.u64()
        }
    }

    /// The version and the flags that open a "full" box.
    pub(super) fn version_and_flags(&mut self) -> Result<(u8, u32), Invalid> {
        let word = self.u32()?;
        Ok((word.to_be_bytes()[0], word & 0x00ff_ffff))
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The number at a place of a list of big-endian words, which stays in the bytes of its box.
pub(super) fn word(list: &[u8], number: usize) -> Option<u32> {
    let at = number.checked_mul(4)?;
    list.get(at..)?
        .first_chunk::<4>()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// A list of `count` records of `record` bytes behind a counter; refuses one that its box can't hold.
pub(super) fn list<'a>(cursor: &mut Cursor<'a>, record: usize) -> Result<&'a [u8], Invalid> {
    let count = cursor.u32()?;
    let bytes = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(record));
    let bytes = bytes.filter(|bytes| *bytes <= cursor.rest().len());
    match bytes {
        Some(bytes) => cursor.take(bytes),
        None => Err(Invalid::damaged(format!(
            "one of its lists claims {count} entries that are not there"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, children, list, word};

    fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 8)
            .unwrap()
            .to_be_bytes()
            .to_vec();
        bytes.extend(name);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn children_in_order_with_long_sizes() {
        let mut body = boxed(b"aaaa", b"1");
        body.extend([0, 0, 0, 1]);
        body.extend(b"bbbb");
        body.extend(18_u64.to_be_bytes());
        body.extend(b"23");
        let found: Vec<_> = children(&body).map(Result::unwrap).collect();
        assert_eq!(found, [(*b"aaaa", &b"1"[..]), (*b"bbbb", &b"23"[..])]);
    }

    #[test]
    fn sizes_that_lie_are_damage_and_end_the_walk() {
        for size in [2_u32, 7, 10, u32::MAX] {
            let mut body = boxed(b"aaaa", b"1");
            body[..4].copy_from_slice(&size.to_be_bytes());
            let found: Vec<_> = children(&body).collect();
            assert_eq!(found.len(), 1, "size {size}");
            assert!(found[0].is_err(), "size {size}");
        }
        assert_eq!(children(&[0; 12]).count(), 0, "a zero ends a list");
        assert_eq!(children(&[0, 0, 0]).count(), 0);
    }

    #[test]
    fn a_list_is_never_larger_than_its_box() {
        let body = [0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 9];
        let words = list(&mut Cursor::new(&body), 4).unwrap();
        assert_eq!(
            (word(words, 0), word(words, 1), word(words, 2)),
            (Some(7), Some(9), None)
        );
        assert!(list(&mut Cursor::new(&body), 8).is_err());
        assert!(list(&mut Cursor::new(&[0xff; 8]), 12).is_err());
    }
}
