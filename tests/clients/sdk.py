"""The Python SDK (`mcp`) as an assistant would embed it: everything but the server's address is discovered.

Called with one JSON argument, talks in JSON lines (see `mod.rs`).
"""

import asyncio
import json
import sys
from urllib.parse import parse_qs, urlsplit

from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

settings = json.loads(sys.argv[1])


def say(**message):
    print(json.dumps(message), flush=True)


async def listen():
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


class Memory:
    """Keeps tokens and registration for the length of the process."""

    tokens = None
    client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


async def redirect(url):
    say(open=url)


async def callback():
    answer = {name: values[0] for name, values in parse_qs(urlsplit(await listen()).query).items()}
    return AuthorizationCodeResult(code=answer["code"], state=answer.get("state"), iss=answer.get("iss"))


async def main():
    memory = Memory()
    provider = OAuthClientProvider(
        server_url=settings["resource"],
        client_metadata=OAuthClientMetadata(client_name="Python SDK", redirect_uris=[settings["redirect_uri"]]),
        storage=memory,
        redirect_handler=redirect,
        callback_handler=callback,
        client_metadata_url=settings["client_metadata_url"],
    )
    async with create_mcp_http_client(auth=provider) as http:
        transport = streamable_http_client(settings["resource"], http_client=http)
        async with Client(transport, mode=settings["era"]) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            found = (await client.call_tool("search", {"query": settings["query"]})).structured_content
            fetched = (await client.call_tool("fetch", {"id": found["results"][0]["id"]})).structured_content
            before = memory.tokens
            say(before={"access_token": before.access_token, "refresh_token": before.refresh_token})
            await listen()
            # By its own clock, which started when the token arrived, the SDK may hold the token for good a moment longer.
            while provider.context.is_token_valid():
                await asyncio.sleep(0.05)
            again = (await client.call_tool("search", {"query": settings["query"]})).structured_content
            after = memory.tokens
            say(
                done={
                    "client_id": memory.client_info.client_id,
                    "protocol": client.protocol_version,
                    "tools": tools,
                    "found": found,
                    "fetched": fetched,
                    "again": again,
                    "access_token": after.access_token,
                    "refresh_token": after.refresh_token,
                }
            )


asyncio.run(main())
