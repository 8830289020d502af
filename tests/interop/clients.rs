//! What others make of the daemon's OpenAPI document: a validator, and two generators of clients.

use crate::python::Python;

/// Needs the packages that `tests/python/requirements.txt` names.
const MODULES: &str = "import datamodel_code_generator, openapi_python_client, openapi_spec_validator";

#[test]
fn the_openapi_document_is_valid_and_two_generators_make_clients_of_it() {
    let Some(python) = Python::find_with(MODULES, "openapi-python-client and others") else { return };
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    serde_json::to_writer(&file, &liaison_client::api::server::document()).unwrap();
    let said = python.script("generate_clients.py", file.path());
    assert_eq!(said.lines().count(), 3, "{said}");
}
