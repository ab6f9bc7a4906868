"""Log in, open a WebSocket with a ticket, and print every event that you may see.

python examples/watch.py USERNAME PASSWORD [http://127.0.0.1:8080]
"""

import asyncio
import sys

import aiohttp


async def watch(username: str, password: str, url: str) -> None:
    """Print events until the server or the user ends it."""
    async with aiohttp.ClientSession(url, raise_for_status=True) as client:
        login = {"username": username, "password": password}
        async with client.post("/auth/login", json=login) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with client.post("/ws/tickets", headers=headers) as answer:
            ticket = (await answer.json())["ticket"]
        async with client.ws_connect("/ws", params={"ticket": ticket}) as socket:
            print("watching", flush=True)
            async for message in socket:
                print(message.data, flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    base = sys.argv[3] if len(sys.argv) > 3 else "http://127.0.0.1:8080"
    try:
        asyncio.run(watch(sys.argv[1], sys.argv[2], base))
    except aiohttp.ClientError as error:
        sys.exit(f"watch: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
