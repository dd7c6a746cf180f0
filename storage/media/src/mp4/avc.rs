//! H.264 as MP4 keeps it (units behind their lengths) turned into what decoders read (units behind
//! start codes).

use super::boxes::Cursor;
use crate::Invalid;

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What stands in `avcC`.
pub(crate) struct Avc {
    /// Sequence and picture parameter sets behind start codes: the decoder's first bytes.
    pub(crate) parameters: Vec<u8>,
    /// Bytes of the length in front of each unit: 1, 2 or 4 (3 is read as well).
    length_bytes: usize,
}

impl Avc {
    pub(super) fn parse(avcc: &[u8]) -> Result<Self, Invalid> {
        let mut cursor = Cursor::new(avcc);
        cursor.take(4)?;
        let length_bytes = usize::from(cursor.u8()? & 3) + 1;
        let mut parameters = Vec::new();
        for mask in [0x1f, 0xff] {
            for _ in 0..cursor.u8()? & mask {
                let bytes = cursor.u16()?;
                parameters.extend(START_CODE);
                parameters.extend(cursor.take(bytes.into())?);
            }
        }
        Ok(Self {
            parameters,
            length_bytes,
        })
    }

    /// Appends the units of a sample to `out`.
    pub(crate) fn append(&self, sample: &[u8], out: &mut Vec<u8>) -> Result<(), Invalid> {
        let mut cursor = Cursor::new(sample);
        while cursor.rest().len() > self.length_bytes {
            let length = cursor.take(self.length_bytes)?;
            let length = length
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            out.extend(START_CODE);
            out.extend(cursor.take(length)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Avc;

    #[test]
    fn lengths_become_start_codes() {
        let avcc = [1, 100, 0, 31, 0xff, 0xe1, 0, 2, 7, 8, 1, 0, 1, 9];
        let avc = Avc::parse(&avcc).unwrap();
        assert_eq!(avc.parameters, [0, 0, 0, 1, 7, 8, 0, 0, 0, 1, 9]);
        let mut out = Vec::new();
        avc.append(&[0, 0, 0, 1, 5, 0, 0, 0, 2, 6, 7], &mut out)
            .unwrap();
        assert_eq!(out, [0, 0, 0, 1, 5, 0, 0, 0, 1, 6, 7]);
        assert!(avc.append(&[0, 0, 0, 9, 5], &mut out).is_err());
        assert!(Avc::parse(&avcc[..9]).is_err());
    }
}
