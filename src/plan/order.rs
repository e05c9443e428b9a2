//! Sorting by keys.

/// Sorts a list by a key of each element; equal ones keep their order. Each type and key that the standard sorts are given is five kilobytes of code of its own; here
/// only this is.
pub(super) fn sort_by_key<T: Copy>(list: &mut [T], key: impl Fn(T) -> u64) {
    // Most lists are in order.
    if list.is_sorted_by_key(|&x| key(x)) {
        return;
    }
    // One number for both compares faster than a pair.
    let mut order: Vec<u128> = list.iter().enumerate().map(|(i, &x)| u128::from(key(x)) << 64 | i as u128).collect();
    order.sort_unstable();
    let sorted: Vec<T> = order.into_iter().map(|place| list[place as u64 as usize]).collect();
    list.copy_from_slice(&sorted);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_keep_their_order() {
        let mut list = [(2, 'a'), (1, 'b'), (2, 'c'), (0, 'd'), (1, 'e')];
        sort_by_key(&mut list, |(key, _)| key);
        assert_eq!(list.map(|(_, name)| name), ['d', 'b', 'e', 'a', 'c']);
        sort_by_key::<u8>(&mut [], |x| x.into());
    }
}
