//! Values from lane to lane.
use super::{Warp, lanes};
use crate::program::{From, Shuffle};
use crate::ptx::Register;

impl Warp {
    /// A lane's value of another lane, and whether that lane is within its segment.
    pub(super) fn shuffle(
        &mut self,
        kind: Shuffle,
        (to, found): (Register, Option<Register>),
        [of, by, clamp]: [From; 3],
        mask: u32,
    ) -> Result<(), String> {
        let (of, by, clamp) = (self.fetch(of), self.fetch(by), self.fetch(clamp));
        let (mut out, mut inside) = ([0; 32], [0; 32]);
        for lane in lanes(mask) {
            let (own, by) = (lane as i64, by[lane] as u32 as i64 & 31);
            let segment = (clamp[lane] >> 8 & 31) as i64;
            let most = own & segment | (clamp[lane] & 31) as i64 & !segment;
            let (other, fits) = match kind {
                Shuffle::Up => (own - by, own - by >= most),
                Shuffle::Down => (own + by, own + by <= most),
                Shuffle::Butterfly => (own ^ by, own ^ by <= most),
                Shuffle::Index => {
                    let other = own & segment | by & !segment;
                    (other, other <= most)
                }
            };
            let other = if fits { other as usize } else { lane };
            if mask >> other & 1 == 0 {
                return Err(format!("lane {lane} reads of lane {other}, which is not here"));
            }
            out[lane] = of[other];
            inside[lane] = u64::from(fits);
        }
        self.put(to, mask, &out);
        if let Some(found) = found {
            self.put(found, mask, &inside);
        }
        Ok(())
    }
}
