"""Authlib, as a website that signs people in, as a device and as a service that asks about tokens."""

import json
import sys
import time

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7636 import create_s256_code_challenge
import requests

settings = json.loads(sys.argv[1])


def browser(url):
    print(json.dumps({"open": url}), flush=True)
    return sys.stdin.readline().strip()


meta = requests.get(settings["issuer"] + "/.well-known/openid-configuration", timeout=10).json()
verifier = generate_token(48)
session = OAuth2Session(
    settings["client_id"],
    settings["client_secret"],
    scope="openid email offline_access",
    redirect_uri=settings["redirect_uri"],
    code_challenge_method="S256",
    token_endpoint=meta["token_endpoint"],
)

url, state = session.create_authorization_url(meta["authorization_endpoint"], code_verifier=verifier, nonce="n")
answer = browser(url)
token = session.fetch_token(meta["token_endpoint"], authorization_response=answer, code_verifier=verifier, state=state)
about = session.get(meta["userinfo_endpoint"], timeout=10).json()
refreshed = dict(session.refresh_token(meta["token_endpoint"], refresh_token=token["refresh_token"]))
told = session.introspect_token(meta["introspection_endpoint"], token=refreshed["access_token"]).json()
session.revoke_token(meta["revocation_endpoint"], token=refreshed["refresh_token"], token_type_hint="refresh_token")
after = session.introspect_token(meta["introspection_endpoint"], token=refreshed["access_token"]).json()

device = requests.post(
    meta["device_authorization_endpoint"],
    data={"scope": "openid"},
    auth=(settings["client_id"], settings["client_secret"]),
    timeout=10,
).json()
grant = "urn:ietf:params:oauth:grant-type:device_code"
try:
    session.fetch_token(meta["token_endpoint"], grant_type=grant, device_code=device["device_code"])
    early = "issued"
except Exception as error:  # the library's own type, whose name is the error code
    early = getattr(error, "error", repr(error))
browser(device["verification_uri_complete"])
time.sleep(device["interval"])
on_device = session.fetch_token(meta["token_endpoint"], grant_type=grant, device_code=device["device_code"])

print(
    json.dumps(
        {
            "done": {
                "about": about,
                "rotated": refreshed["refresh_token"] != token["refresh_token"],
                "told": told,
                "after": after,
                "early": early,
                "device": dict(on_device)["token_type"],
            }
        }
    ),
    flush=True,
)
