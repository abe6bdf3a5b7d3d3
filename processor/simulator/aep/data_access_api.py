"""Data access: the files of failed batches.

Source: AEP Data Access API (OpenAPI) and the guide to failed batches.
"""

from processor.simulator.aep.catalog_api import not_found
from processor.simulator.aep.data_lake import DataLake
from processor.simulator.aep.responses import SimulatedResponse, json_response


class DataAccessApi:
    """Responses of data access for one organisation."""

    def __init__(self, data_lake: DataLake) -> None:
        self._data_lake = data_lake

    def failed(self, batch_id: str, path: str | None, base_url: str) -> SimulatedResponse:
        """List the files of a failed batch, or return one as NDJSON."""
        batch = next((each for each in self._data_lake.failed() if each.id == batch_id), None)
        if batch is None:
            return not_found(f"Batch {batch_id}")
        rows = b"\n".join(batch.lines) + b"\n"
        files = {"_SUCCESS": b"", batch.file_name: rows}
        if path is not None:
            if path not in files:
                return not_found(f"File {path}")
            return SimulatedResponse(200, files[path], {"Content-Type": "application/octet-stream"})
        address = f"{base_url}/data/foundation/export/batches/{batch_id}/failed?path="
        entries = [
            {"name": name, "length": str(len(body)), "_links": {"self": {"href": address + name}}}
            for name, body in files.items()
        ]
        return json_response(200, {"data": entries, "_page": {"limit": 100, "count": len(entries)}})
