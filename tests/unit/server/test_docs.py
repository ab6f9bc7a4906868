import re

import pytest
from pytest_aiohttp import AiohttpClient
from small_app import small_app

from server import __version__
from server.routes import ROUTES

DOCS = [row for row in ROUTES if row.path.startswith(("/docs", "/openapi", "/async"))]
ASSETS = ["init.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"]


async def test_the_page_runs_under_a_strict_policy(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(*DOCS))

    response = await client.get("/docs")
    page = await response.text()

    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert response.content_type == "text/html"
    assert re.findall(r"<script(?! src=)", page) == []
    assert "style=" not in page
    assert "//" not in page.replace("<!doctype html>", "")


async def test_the_page_asks_only_for_what_is_there(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(*DOCS))
    page = await (await client.get("/docs")).text()

    links = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert sorted(links) == sorted(f"docs/{name}" for name in ASSETS)
    for link in links:
        assert (await client.get(f"/{link}")).status == 200


async def test_a_program_finds_its_way_from_the_root(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(*ROUTES))
    response = await client.get("/")
    index = await response.json()

    named = set(index.values()) - {"Boardcast", __version__}

    assert named <= {row.path for row in ROUTES}
    assert index["documentation"] == "/docs"
    assert response.headers["Vary"] == "Accept"


async def test_a_person_is_sent_from_the_root_to_the_page(
    aiohttp_client: AiohttpClient,
):
    client = await aiohttp_client(small_app(*ROUTES))
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    response = await client.get("/", headers=browser, allow_redirects=False)

    assert (response.status, response.headers["Location"]) == (303, "/docs")
    assert response.headers["Vary"] == "Accept"


@pytest.mark.parametrize("name", ASSETS)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_an_asset_is_the_same_in_every_encoding(
    aiohttp_client: AiohttpClient, name: str, encoding: str
):
    client = await aiohttp_client(small_app(*DOCS))
    plain = await (
        await client.get(f"/docs/{name}", headers={"Accept-Encoding": "identity"})
    ).read()

    response = await client.get(f"/docs/{name}", headers={"Accept-Encoding": encoding})

    assert await response.read() == plain
    assert len(plain) > 100
    assert response.headers["Vary"] == "Accept-Encoding"


async def test_large_assets_travel_compressed(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(*DOCS), auto_decompress=False)

    response = await client.get(
        "/docs/swagger-ui-bundle.js", headers={"Accept-Encoding": "gzip, br"}
    )

    assert response.headers["Content-Encoding"] == "gzip"
    assert len(await response.read()) < 600_000


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/init.js", "/openapi.json", "/asyncapi.json"]
)
async def test_what_is_known_is_not_sent_again(
    aiohttp_client: AiohttpClient, path: str
):
    client = await aiohttp_client(small_app(*DOCS))
    etag = (await client.get(path)).headers["ETag"]

    for named in (etag, f'"x", W/{etag}', "*"):
        response = await client.get(path, headers={"If-None-Match": named})

        assert response.status == 304
        assert response.headers["ETag"] == etag
        assert await response.read() == b""


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2Fdocs.py", "index.html", "swagger-ui.css.gz", "LICENSE"]
)
async def test_nothing_else_is_served(aiohttp_client: AiohttpClient, name: str):
    client = await aiohttp_client(small_app(*DOCS))

    response = await client.get(f"/docs/{name}")

    assert response.status == 404


async def test_the_documents_are_served(aiohttp_client: AiohttpClient):
    client = await aiohttp_client(small_app(*DOCS))

    document = await (await client.get("/openapi.json")).json()
    live = await (await client.get("/asyncapi.json")).json()

    assert document["openapi"].startswith("3.1")
    assert list(document["paths"]) == [row.path for row in DOCS]
    assert live["asyncapi"] == "3.0.0"
