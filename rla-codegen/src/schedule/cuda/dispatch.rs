//! What calls of a shape have where no table says: how wide sequential blocks are, and whether finish runs beside them. It is not meant
//! to change a bit: a channel's work is a warp's whatever the width, and a block of finish does the same whenever it starts.

/// Groups of 16 channels a sequential block where no table says: one if the card holds all blocks at once, which is the shortest time
/// a chunk; more where blocks would wait for others, since wider blocks read keys and records less often. The bits are the same for
/// all: a channel's work is a warp's.
pub fn groups_for(sequences: usize, channels: usize, multiprocessors: usize) -> usize {
    let waits = |groups: &usize| sequences * channels.div_ceil(16 * groups) > multiprocessors;
    [1, 2].into_iter().find(|groups| !waits(groups)).unwrap_or(4)
}

/// Of the time that a chunk takes a block of one group, what it takes one of more: Gated DeltaNet's backward chain on an H200.
const OF_GROUPS: [(usize, f64); 3] = [(1, 1.0), (2, 1.35), (4, 1.75)];

/// Time of backward's finish for a sequence and value head on a whole H200, of that of a sequential kernel of one group: from 0.09
/// (gated delta rule) over 0.12 (simple GLA) to 0.27 (KDA).
const OF_FINISH: f64 = 0.1;

/// What finish has to gain beside a sequential kernel that is made wider for it, of the time of both. One that has that width anyway
/// leaves its multiprocessors one by one, and finish takes them: RDN trains in 1.37 ms instead of 1.42 at (4,4096,16,128) on an H200,
/// and what the warp that tells costs was at most 0.5 % (simple GLA at (8,2048)).
const GAIN: f64 = 0.05;

/// Groups of 16 channels of a sequential block of backward where finish starts beside it and no table says; 0 where that gains
/// nothing. Wider blocks take longer, but leave multiprocessors to finish.
pub fn beside_for(sequences: usize, channels: usize, multiprocessors: usize) -> usize {
    let card = multiprocessors.max(1);
    let finish = OF_FINISH * (132 * sequences) as f64 / card as f64;
    let blocks = |groups: usize| sequences * channels.div_ceil(16 * groups);
    let chain = |groups: usize| {
        let of = OF_GROUPS.iter().find(|(g, _)| *g == groups).map_or(1.0, |(_, time)| *time);
        of * blocks(groups).div_ceil(card) as f64
    };
    let beside = |groups: usize| {
        let free = 1.0 - (blocks(groups) as f64 / card as f64).min(1.0);
        chain(groups).max(chain(groups) + finish - chain(groups) * free)
    };
    let usual = groups_for(sequences, channels, multiprocessors);
    let after = chain(usual) + finish;
    let widths = OF_GROUPS.iter().map(|(g, _)| *g).filter(|g| channels >= 16 * g);
    let best = widths.min_by(|a, b| beside(*a).total_cmp(&beside(*b)));
    let gains = |g: &usize| if *g == usual { beside(*g) <= after } else { beside(*g) < (1.0 - GAIN) * after };
    best.filter(|g| sequences > 0 && gains(g)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_as_narrow_as_the_card_holds_at_once() {
        assert_eq!([1, 16, 17, 33, 34, 64, 1000].map(|s| groups_for(s, 128, 132)), [1, 1, 2, 2, 4, 4, 4]);
        assert_eq!(groups_for(100, 16, 132), 1);
        assert_eq!(groups_for(0, 128, 132), 1);
    }

    #[test]
    fn finish_starts_beside_blocks_that_leave_room() {
        // 128 blocks of one group fill the card, 32 of four do not; eight heads leave half of it anyway; many have wide blocks anyway
        assert_eq!([1, 8, 16, 32, 64, 128].map(|s| beside_for(s, 128, 132)), [1, 1, 4, 4, 4, 4]);
        // wider blocks than usual for a twentieth of the time: no
        assert_eq!(beside_for(64, 32, 132), 0);
        assert_eq!(beside_for(0, 128, 132), 0);
    }
}
