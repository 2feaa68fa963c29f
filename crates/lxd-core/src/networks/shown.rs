//! A network as the API answers it.

use lxd_api::networks::Network;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

/// A network whose empty lists are `null`, as the reference writes them.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown(pub Network);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let network = &self.0;
        let list = |list: &'_ Vec<String>| (!list.is_empty()).then(|| list.clone());
        // What nothing can ever use has a list all the same.
        let used_by = match network.r#type.as_str() {
            "loopback" => Some(network.used_by.clone()),
            _ => list(&network.used_by),
        };
        let mut fields = serializer.serialize_struct("Network", 8)?;
        fields.serialize_field("config", &network.config)?;
        fields.serialize_field("description", &network.description)?;
        fields.serialize_field("name", &network.name)?;
        fields.serialize_field("type", &network.r#type)?;
        fields.serialize_field("used_by", &used_by)?;
        fields.serialize_field("managed", &network.managed)?;
        fields.serialize_field("status", &network.status)?;
        fields.serialize_field("locations", &list(&network.locations))?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_are_null_but_those_of_the_loopback() {
        let text = |kind: &str, users: &[&str]| {
            let network = Network {
                name: "n".into(),
                r#type: kind.into(),
                used_by: users.iter().map(|user| (*user).to_owned()).collect(),
                ..Network::default()
            };
            serde_json::to_string(&Shown(network)).unwrap()
        };
        assert_eq!(
            text("physical", &[]),
            r#"{"config":{},"description":"","name":"n","type":"physical","used_by":null,"managed":false,"status":"","locations":null}"#
        );
        assert!(text("loopback", &[]).contains(r#""used_by":[]"#));
        assert!(text("bridge", &["/1.0/profiles/p"]).contains(r#""used_by":["/1.0/profiles/p"]"#));
    }
}
