//! The fields that are secrets: those with the option `openorder.secret.v1.secret`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use protox::prost_reflect::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, MessageDescriptor};

/// The option that makes a field a secret.
const OPTION: &str = "openorder.secret.v1.secret";

/// Messages by their full names, each with its secret fields.
pub(crate) type Secrets = BTreeMap<String, Vec<FieldDescriptor>>;

/// What of the contract is secret.
///
/// # Errors
///
/// When a secret is a list, a map or a message, which nobody here takes out: a secret is one text or one number.
pub(crate) fn of(contract: &DescriptorPool) -> Result<Secrets, Box<dyn Error>> {
    let option =
        contract.get_extension_by_name(OPTION).ok_or_else(|| format!("the contract has no option {OPTION}"))?;
    let mut secrets = Secrets::new();
    for message in contract.all_messages() {
        let fields: Vec<_> = message.fields().filter(|field| is_secret(field, &option)).collect();
        if let Some(field) = fields.iter().find(|field| field.is_list() || field.kind().as_message().is_some()) {
            return Err(format!("{}: a secret is one text, one number, or bytes", field.full_name()).into());
        }
        if !fields.is_empty() {
            secrets.insert(message.full_name().to_owned(), fields);
        }
    }
    Ok(secrets)
}

fn is_secret(field: &FieldDescriptor, option: &ExtensionDescriptor) -> bool {
    let options = field.options();
    options.has_extension(option) && options.get_extension(option).as_bool() == Some(true)
}

/// The table of `src/secrets.rs`.
pub(crate) fn table(secrets: &Secrets) -> Result<String, Box<dyn Error>> {
    let mut table = "&[\n".to_owned();
    for (message, fields) in secrets {
        let numbers: Vec<String> = fields.iter().map(|field| field.number().to_string()).collect();
        writeln!(table, "    ({message:?}, &[{}]),", numbers.join(", "))?;
    }
    table.push_str("]\n");
    Ok(table)
}

/// `Debug` of the messages with secrets, and of the choices within them: the name alone.
pub(crate) fn debugs(contract: &DescriptorPool, secrets: &Secrets) -> Result<String, Box<dyn Error>> {
    let mut code = String::new();
    for name in secrets.keys() {
        let message = contract.get_message_by_name(name).ok_or("a message that is not there")?;
        let module = module_of(&message)?;
        write_debug(&mut code, &format!("{module}::{}", message.name()), message.name())?;
        for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
            let (folder, choice) = (snake(message.name()), camel(choice.name()));
            write_debug(&mut code, &format!("{module}::{folder}::{choice}"), &choice)?;
        }
    }
    Ok(code)
}

/// `openorder.user.v1` as `crate::user::v1`.
fn module_of(message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    if message.parent_message().is_some() {
        return Err(format!("{}: a message within another has no secrets", message.full_name()).into());
    }
    let package = message.package_name().strip_prefix("openorder.").ok_or("a secret of somebody else")?;
    Ok(format!("crate::{}", package.replace('.', "::")))
}

fn write_debug(code: &mut String, path: &str, name: &str) -> std::fmt::Result {
    writeln!(code, "impl ::core::fmt::Debug for {path} {{")?;
    writeln!(code, "    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{")?;
    writeln!(code, "        f.write_str(\"{name}(***)\")")?;
    writeln!(code, "    }}\n}}")
}

/// `SignOutRequest` as `sign_out_request`.
fn snake(camel: &str) -> String {
    let mut snake = String::new();
    for (index, letter) in camel.char_indices() {
        if index > 0 && letter.is_uppercase() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// `some_choice` as `SomeChoice`.
fn camel(snake: &str) -> String {
    let words = snake.split('_').filter(|word| !word.is_empty());
    words.map(|word| format!("{}{}", word[..1].to_uppercase(), &word[1..])).collect()
}
