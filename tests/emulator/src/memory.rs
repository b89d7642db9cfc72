//! The device's memory: allocations with addresses, and nothing between them.
use std::collections::BTreeMap;

/// Allocations by their first address.
#[derive(Default)]
pub struct Memory {
    allocations: BTreeMap<u64, Vec<u8>>,
    used: u64,
}

/// First address.
const START: u64 = 0x10_0000_0000;
/// What lies between two allocations at least, so that an address just past one is in none.
const GAP: u64 = 1 << 16;

impl Memory {
    /// So many bytes, all 0xff.
    pub fn allocate(&mut self, bytes: usize) -> u64 {
        let address = START + self.used;
        self.used = (self.used + bytes as u64 + GAP).next_multiple_of(GAP);
        self.allocations.insert(address, vec![0xff; bytes]);
        address
    }

    /// Gives an allocation back; false where there is none.
    pub fn free(&mut self, address: u64) -> bool {
        self.allocations.remove(&address).is_some()
    }

    fn find(&self, address: u64, bytes: usize) -> Result<(u64, usize), String> {
        let before = self.allocations.range(..=address).next_back();
        let Some((start, memory)) = before else {
            return Err(format!("address {address:#x} is in no allocation"));
        };
        let offset = (address - start) as usize;
        if offset + bytes > memory.len() {
            let size = memory.len();
            return Err(format!("{bytes} bytes at {offset} of an allocation of {size}"));
        }
        Ok((*start, offset))
    }

    /// Bytes at an address.
    ///
    /// # Errors
    /// They are not all of one allocation.
    pub fn read(&self, address: u64, bytes: usize) -> Result<&[u8], String> {
        let (start, offset) = self.find(address, bytes)?;
        Ok(&self.allocations[&start][offset..offset + bytes])
    }

    /// The same, to be written.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn write(&mut self, address: u64, bytes: usize) -> Result<&mut [u8], String> {
        let (start, offset) = self.find(address, bytes)?;
        let memory = self.allocations.get_mut(&start).expect("it was found");
        Ok(&mut memory[offset..offset + bytes])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_allocated_is_there() {
        let mut memory = Memory::default();
        let (a, b) = (memory.allocate(16), memory.allocate(8));
        memory.write(a + 12, 4).unwrap().copy_from_slice(&[1, 2, 3, 4]);
        assert_eq!(memory.read(a + 12, 4).unwrap(), [1, 2, 3, 4]);
        assert_eq!(memory.read(b, 8).unwrap(), [255; 8]);
        assert_eq!(memory.read(a + 14, 4).unwrap_err(), "4 bytes at 14 of an allocation of 16");
        assert!(memory.free(a) && !memory.free(a));
        assert!(memory.read(a, 1).is_err());
    }
}
