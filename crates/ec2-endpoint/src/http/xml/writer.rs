//! Writes XML text.

use std::fmt::Display;

use crate::answer::Page;

pub(crate) struct Xml(String);

impl Xml {
    /// A document whose root has a namespace.
    pub fn document(root: &str, namespace: &str, content: impl FnOnce(&mut Self)) -> String {
        Self::with_root(&format!("{root} xmlns=\"{namespace}\""), root, content)
    }

    pub fn plain_document(root: &str, content: impl FnOnce(&mut Self)) -> String {
        Self::with_root(root, root, content)
    }

    fn with_root(start: &str, root: &str, content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{start}>"));
        content(&mut xml);
        xml.end(root);
        xml.0
    }

    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.begin(name);
        content(self);
        self.end(name);
    }

    pub fn text(&mut self, name: &str, value: impl Display) {
        self.element(name, |xml| xml.escaped(&value.to_string()));
    }

    /// The element if there is a value: EC2 leaves out what is not there.
    pub fn text_if(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A list, with one `item` element for each.
    pub fn list<'a, T: 'a>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = &'a T>,
        item: impl Fn(&mut Self, &'a T),
    ) {
        self.element(name, |xml| {
            for value in items {
                xml.element("item", |xml| item(xml, value));
            }
        });
    }

    /// A list of plain values.
    pub fn values<'a, T: Display + 'a>(&mut self, name: &str, values: impl IntoIterator<Item = &'a T>) {
        self.list(name, values, |xml, value| xml.escaped(&value.to_string()));
    }

    pub fn page<T>(&mut self, name: &str, page: &Page<T>, item: impl Fn(&mut Self, &T)) {
        self.list(name, &page.items, item);
        self.text_if("nextToken", page.next_token.as_ref());
    }

    fn begin(&mut self, name: &str) {
        self.0.extend(["<", name, ">"]);
    }

    fn end(&mut self, name: &str) {
        self.0.extend(["</", name, ">"]);
    }

    fn escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                // As themselves these are line ends or separators to the reader, or not allowed at all.
                '\n' | '\r' | '\t' => self.0.extend([format!("&#{};", u32::from(character))]),
                other if other.is_control() => self.0.push(char::REPLACEMENT_CHARACTER),
                other => self.0.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let document = Xml::plain_document("a", |xml| {
            xml.text("b", "<&>\"\n\u{1}é");
            xml.text_if("c", None::<&str>);
            xml.values("d", &["1", "2"]);
        });
        let content = "<b>&lt;&amp;&gt;&quot;&#10;\u{fffd}é</b><d><item>1</item><item>2</item></d>";
        assert_eq!(document, format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>{content}</a>"));
    }
}
