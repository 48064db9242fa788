//! GF(2^8) with x^8 + x^4 + x^3 + x^2 + 1 (0x11d), and the generator matrix over it (**format**).

#![expect(
    clippy::cast_possible_truncation,
    reason = "const tables count in usize, below 256"
)]

/// Product in the field.
pub(super) const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut b, mut product) = (a, b, 0);
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let carry = a & 0x80 != 0;
        a <<= 1;
        if carry {
            a ^= 0x1d;
        }
        b >>= 1;
    }
    product
}

/// Inverse of each element; 0 for 0.
static INVERSE: [u8; 256] = {
    let mut table = [0; 256];
    let mut element = 1;
    while element < 256 {
        // a^254, by squaring: a^255 is 1.
        let mut power = element as u8;
        let mut result = 1;
        let mut step = 0;
        while step < 7 {
            power = multiply(power, power);
            result = multiply(result, power);
            step += 1;
        }
        table[element] = result;
        element += 1;
    }
    table
};

/// Inverse; 0 for 0.
pub(super) fn inverse(element: u8) -> u8 {
    INVERSE[usize::from(element)]
}

/// For each coefficient: its products with 0..16, then with 0, 16, 32 … 240.
pub(super) static NIBBLES: [[u8; 32]; 256] = {
    let mut tables = [[0; 32]; 256];
    let mut c = 0;
    while c < 256 {
        let mut x = 0;
        while x < 16 {
            tables[c][x] = multiply(c as u8, x as u8);
            tables[c][x + 16] = multiply(c as u8, (x as u8) << 4);
            x += 1;
        }
        c += 1;
    }
    tables
};

/// For each coefficient: the bit matrix of the multiplication, as `gf2p8affineqb` takes it: row of
/// output bit i in byte 7 - i, its bit j saying whether input bit j goes into it.
pub(super) static AFFINE: [u64; 256] = {
    let mut tables = [0; 256];
    let mut c = 0;
    while c < 256 {
        let mut j = 0;
        while j < 8 {
            let column = multiply(c as u8, 1 << j);
            let mut i = 0;
            while i < 8 {
                let bit = (column >> i & 1) as u64;
                tables[c] |= bit << (8 * (7 - i) + j);
                i += 1;
            }
            j += 1;
        }
        c += 1;
    }
    tables
};

/// Element of the generator matrix (**format**): the identity for data shards, below it the Cauchy
/// matrix 1 / (row XOR column). With k = 1 all are 1: parity is a copy, readable by anything.
pub(super) fn generator(k: u8, row: u8, column: u8) -> u8 {
    if k == 1 || row == column {
        1
    } else if row < k {
        0
    } else {
        inverse(row ^ column)
    }
}

/// Inverts the square `matrix` of `n` rows in place by Gauss-Jordan; false where it is singular.
pub(super) fn invert(matrix: &mut [Vec<u8>]) -> bool {
    let n = matrix.len();
    for (i, row) in matrix.iter_mut().enumerate() {
        row.resize(2 * n, 0);
        row[n + i] = 1;
    }
    for i in 0..n {
        let Some(pivot) = (i..n).find(|&r| matrix[r][i] != 0) else {
            return false;
        };
        matrix.swap(i, pivot);
        let scale = inverse(matrix[i][i]);
        for value in &mut matrix[i] {
            *value = multiply(*value, scale);
        }
        let pivot = matrix[i].clone();
        for (r, row) in matrix.iter_mut().enumerate() {
            let factor = row[i];
            if r != i && factor != 0 {
                for (value, &p) in row.iter_mut().zip(&pivot) {
                    *value ^= multiply(factor, p);
                }
            }
        }
    }
    for row in matrix {
        row.drain(..n);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_a_field() {
        for a in 0..=255 {
            assert_eq!(multiply(a, inverse(a)), u8::from(a != 0), "{a}");
            for b in 0..=255 {
                assert_eq!(multiply(a, b), multiply(b, a));
                let [low, high] = [b & 15, b >> 4].map(usize::from);
                let table = NIBBLES[usize::from(a)];
                assert_eq!(table[low] ^ table[16 + high], multiply(a, b));
            }
        }
        // Known products of 0x11d.
        assert_eq!(multiply(0x80, 2), 0x1d);
        assert_eq!(multiply(0x02, 0x8e), 1);
    }

    #[test]
    fn the_generator_is_what_is_on_disk() {
        let rows: Vec<Vec<u8>> = (0..6)
            .map(|r| (0..4).map(|c| generator(4, r, c)).collect())
            .collect();
        assert_eq!(rows[1], [0, 1, 0, 0]);
        // 1/4, 1/5, 1/6, 1/7 and 1/5, 1/4, 1/7, 1/6.
        let inverses = [4, 5, 6, 7].map(inverse);
        assert_eq!(inverses, [71, 167, 122, 186]);
        assert_eq!(rows[4], inverses);
        assert_eq!(
            rows[5],
            [inverses[1], inverses[0], inverses[3], inverses[2]]
        );
    }
}
