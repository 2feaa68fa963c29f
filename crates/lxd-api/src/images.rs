//! Wire types: images and their aliases.

use std::collections::BTreeMap;

use crate::time::Time;
use crate::wire::{part_of, wire};

wire! {
    /// An image.
    pub struct Image {
        auto_update: bool,
        properties: BTreeMap<String, String>,
        public: bool,
        expires_at: Time,
        profiles: Vec<String>,
        aliases: Vec<ImageAlias>,
        architecture: String,
        cached: bool,
        filename: String,
        fingerprint: String,
        size: i64,
        #[serde(skip_serializing_if = "crate::wire::is_default")]
        update_source: Option<ImageSource>,
        r#type: String,
        created_at: Time,
        last_used_at: Time,
        uploaded_at: Time,
    }
}

wire! {
    /// An image alias.
    pub struct ImageAlias {
        name: String,
        description: String,
    }
}

wire! {
    /// An image aliases entry.
    pub struct ImageAliasesEntry {
        description: String,
        target: String,
        name: String,
        r#type: String,
    }
}

wire! {
    /// What a POST to an image aliases entry asks for.
    pub struct ImageAliasesEntryPost {
        name: String,
    }
}

wire! {
    /// What a PUT may change of an image aliases entry.
    pub struct ImageAliasesEntryPut {
        description: String,
        target: String,
    }
}

wire! {
    /// A new image aliase, as a client asks for it.
    pub struct ImageAliasesPost {
        description: String,
        target: String,
        name: String,
        r#type: String,
    }
}

wire! {
    /// What a POST to an image export asks for.
    pub struct ImageExportPost {
        aliases: Vec<ImageAlias>,
        certificate: String,
        profiles: Vec<String>,
        project: String,
        secret: String,
        target: String,
    }
}

wire! {
    /// The `metadata.yaml` of an image.
    pub struct ImageMetadata {
        architecture: String,
        creation_date: i64,
        expiry_date: i64,
        properties: BTreeMap<String, String>,
        templates: BTreeMap<String, ImageMetadataTemplate>,
    }
}

wire! {
    /// One template of an image.
    pub struct ImageMetadataTemplate {
        when: Vec<String>,
        create_only: bool,
        template: String,
        properties: BTreeMap<String, String>,
    }
}

wire! {
    /// What a PUT may change of an image.
    pub struct ImagePut {
        auto_update: bool,
        properties: BTreeMap<String, String>,
        public: bool,
        expires_at: Time,
        profiles: Vec<String>,
    }
}

wire! {
    /// The server and alias that an image came from and is refreshed from.
    pub struct ImageSource {
        alias: String,
        certificate: String,
        image_type: String,
        protocol: String,
        server: String,
    }
}

wire! {
    /// A new image, as a client asks for it.
    pub struct ImagesPost {
        aliases: Vec<ImageAlias>,
        auto_update: bool,
        compression_algorithm: String,
        expires_at: Time,
        filename: String,
        profiles: Vec<String>,
        properties: BTreeMap<String, String>,
        public: bool,
        source: Option<ImagesPostSource>,
    }
}

wire! {
    /// Where a new image comes from.
    pub struct ImagesPostSource {
        alias: String,
        certificate: String,
        fingerprint: String,
        image_type: String,
        mode: String,
        name: String,
        project: String,
        protocol: String,
        secret: String,
        server: String,
        r#type: String,
        url: String,
    }
}

part_of! { ImageAliasesEntryPut of ImageAliasesEntry: description, target }

part_of! { ImagePut of Image: auto_update, properties, public, expires_at, profiles }
