"""A stand-in for the Hub's HTTP interface: repositories in memory, of which files can be put and had.

Interface: https://huggingface.co/docs/hub/api (create, preupload, commit, resolve) and git-lfs's batch API.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_standinstandinstandin"
COMMIT = "a" * 40


class StandIn:
    """The repositories, each a mapping of file names to bytes, and a server for them on this machine.

    An owner "forbidden" lets nobody write.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.is_closed = False
        hub = self

        class Handler(_Handler):
            stand_in = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """From here on nobody answers, on open connections either."""
        self.is_closed = True
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        if self.stand_in.is_closed:
            self.close_connection = True
            return False
        return super().parse_request()

    def log_message(self, *_) -> None:
        pass

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def _answer(self, status: int, value: object = None, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _is_allowed(self, name: str) -> bool:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
            return False
        if name.startswith("forbidden/"):
            self._answer(403, {"error": "You don't have the rights."}, X_Error_Message="You don't have the rights.")
            return False
        return True

    def do_POST(self) -> None:
        hub, path, body = self.stand_in, self.path.partition("?")[0], self._body()
        hub.requests.append(f"POST {path}")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'jane'}/{asked['name'].rpartition('/')[2]}"
            if "/" in asked["name"]:
                name = asked["name"]
            if not self._is_allowed(name):
                return
            there = name in hub.repositories
            hub.repositories.setdefault(name, {})
            hub.private.setdefault(name, bool(asked.get("private") or asked.get("visibility") == "private"))
            self._answer(409 if there else 200, {"url": f"{hub.address}/{name}"})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            if not self._is_allowed(found[1]):
                return
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer(200, {"files": modes})
        elif found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            objects = [
                {**asked, "actions": {"upload": {"href": f"{hub.address}/lfs/{asked['oid']}"}}}
                for asked in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            if not self._is_allowed(found[1]):
                return
            files = hub.repositories[found[1]]
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]]
            made = {"commitUrl": f"{hub.address}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT, "hookOutput": ""}
            self._answer(200, made)
        else:
            self._answer(200, {})  # such as whether a header of a card is valid

    def do_PUT(self) -> None:
        content = self._body()
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(content).hexdigest() == oid
        self.stand_in.objects[oid] = content
        self._answer(200, b"")

    def do_GET(self) -> None:
        hub, path = self.stand_in, self.path.partition("?")[0]
        hub.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if found[1] in hub.repositories:
                self._answer(200, {"id": found[1], "sha": COMMIT, "siblings": []})
            else:
                self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        files = hub.repositories.get(found[1]) if found else None
        if found is None or files is None:
            self._answer(401, {"error": "Invalid username or password."}, X_Error_Code="RepoNotFound")
        elif found[2] not in ("main", COMMIT):
            self._answer(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
        elif found[3] not in files:
            self._answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        else:
            content = files[found[3]]
            self._answer(200, content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET
