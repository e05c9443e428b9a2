//! What both fuzz targets share.

/// The bytes with the right checksum, where there is a place for one: mutations then reach what lies behind it.
pub fn with_checksum(data: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    let key = b"\"checksum\":\"";
    let at = file.windows(key.len()).position(|window| window == key).map(|at| at + key.len());
    let Some(at) = at.filter(|&at| at >= 8 && at + 8 <= file.len()) else { return file };
    file[at..at + 8].copy_from_slice(b"00000000");
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
    let crc = !file.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)));
    file[at..at + 8].copy_from_slice(format!("{crc:08x}").as_bytes());
    file
}
