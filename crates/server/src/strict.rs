//! What a JSON text must not have, whatever type it is read into: deep nesting and repeated names.

use std::{collections::HashSet, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::JSON_DEPTH;

/// Refuses what is not one JSON value, nests too deep or repeats a name.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= JSON_DEPTH {
            return Err(E::custom(format_args!("it nests deeper than {JSON_DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = Names::default();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("it has a name twice in one object"));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// The names of one object. Most objects have few, and comparing those is cheaper than hashing.
#[derive(Default)]
struct Names {
    few: Vec<String>,
    many: HashSet<String>,
}

impl Names {
    /// Where comparing becomes dearer than hashing.
    const FEW: usize = 16;

    fn insert(&mut self, name: String) -> bool {
        if self.few.contains(&name) {
            return false;
        }
        if self.few.len() < Self::FEW {
            self.few.push(name);
            return true;
        }
        self.many.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn form_faults_are_found() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for good in ["{}", "[1,2.5,-3,\"a\",null,true]", r#"{"a":{"a":1},"b":[{"a":1}]}"#, &nested(64)] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
        let many: Vec<_> = (0..40).map(|n| format!("\"k{n}\":0")).collect();
        let repeated_late = format!("{{{},\"k39\":1}}", many.join(","));
        let bad = [
            "",
            "{",
            "{} {}",
            "NaN",
            "1e400",
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "\u{feff}{}",
            r#""\ud800""#,
            r#"{"x":{"b":[],"b":[]}}"#,
            &nested(65),
            &nested(100_000),
            &repeated_late,
        ];
        for bad in bad {
            assert!(check(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        assert!(check(b"\"\xff\"").is_err());
    }
}
