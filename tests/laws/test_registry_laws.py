"""Laws of fetching schemas in the background: the end is that of asking one after the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.codec.registry import RegistrySchemas
from processor.codec.schemas import SchemaFolder
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings
from tests.support.clock import ManualClock
from tests.support.registry import FakeRegistry, fetch_all

KNOWN = 12
FOLDER = SchemaFolder(schemas_folder())
polls = st.lists(st.sets(st.integers(1, 2 * KNOWN), max_size=10), max_size=5)


@given(polls, st.lists(st.sets(st.integers(1, 2 * KNOWN), max_size=10), max_size=2))
@settings(max_examples=20)
def test_known_ids_are_fetched_once_and_all_others_are_unknown(
    needed: list[set[int]], abandoned: list[set[int]]
) -> None:
    with FakeRegistry() as registry:
        for number in range(KNOWN):
            registry.register("s", f'{{"type": "fixed", "name": "F", "size": {number}}}')
        declared = RegistrySettings.model_validate({"url": registry.url, "unknown_id_seconds": 0})
        schemas = RegistrySchemas(declared, FOLDER, ManualClock())
        for ids in abandoned:
            schemas.fetch_schemas(ids)

        for ids in needed:
            fetch_all(schemas, ids)

            assert {each for each in ids if schemas.get(each)} == {n for n in ids if n <= KNOWN}
        assert len(registry.requests) == len(set(registry.requests))
