// A website that signs people in with OpenID Connect, by `openid-client`, a certified library: it checks the ID token's
// signature, issuer, audience, nonce and hash, and the issuer of the answer, by itself.

import * as oidc from 'openid-client';
import { browser, say, settings } from './harness.mjs';

const options = { execute: [oidc.allowInsecureRequests] };
const config = await oidc.discovery(new URL(settings.issuer), settings.client_id, undefined, oidc.None(), options);
const verifier = oidc.randomPKCECodeVerifier();
const state = oidc.randomState();
const nonce = oidc.randomNonce();
const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: settings.redirect_uri,
    scope: 'openid profile email offline_access',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    max_age: '600',
    state,
    nonce
});
const answer = new URL(await browser(url.href));
const tokens = await oidc.authorizationCodeGrant(config, answer, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    maxAge: 600,
    idTokenExpected: true
});
const claims = tokens.claims();
const about = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
const still = await oidc.fetchUserInfo(config, refreshed.access_token, claims.sub);
await oidc.tokenRevocation(config, refreshed.refresh_token);
const refused = await oidc.refreshTokenGrant(config, refreshed.refresh_token).catch((error) => error.error);
const rotated = refreshed.refresh_token !== tokens.refresh_token;
say({ done: { claims, about, still, rotated, refused } });
process.exit(0);
