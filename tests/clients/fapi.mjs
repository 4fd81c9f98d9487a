// The same by `oauth4webapi`, which does one step at a time and validates each answer: FAPI's way, with a key assertion, a
// pushed request that is signed, a signed answer, DPoP with the server's nonces, and a refresh.

import * as oauth from 'oauth4webapi';
import { browser, say, settings } from './harness.mjs';

const issuer = new URL(settings.issuer);
const insecure = { [oauth.allowInsecureRequests]: true };
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
const key = await crypto.subtle.importKey('jwk', settings.key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
const signing = { key, kid: settings.key.kid };
const client = { client_id: settings.client_id };
const auth = oauth.PrivateKeyJwt(signing, { [oauth.modifyAssertion]: (_, payload) => { payload.aud = as.issuer; } });
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
const options = { ...insecure, DPoP };

// A server that asks for a nonce is asked again with it.
const retried = async (ask) => {
    const first = await ask();
    const challenge = await first.response.clone().json().catch(() => ({}));
    if (challenge.error === 'use_dpop_nonce') {
        try { await first.process(first.response); } catch (error) {
            if (!oauth.isDPoPNonceError(error)) throw error;
        }
        const second = await ask();
        return { value: await second.process(second.response), nonces: true };
    }
    return { value: await first.process(first.response), nonces: false };
};

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const nonce = oauth.generateRandomNonce();
const wish = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    response_mode: 'jwt',
    redirect_uri: settings.redirect_uri,
    scope: 'openid profile offline_access',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce
});
const request = await oauth.issueRequestObject(as, client, wish, signing);
const pushed = await retried(async () => ({
    response: await oauth.pushedAuthorizationRequest(as, client, auth, { client_id: client.client_id, request }, options),
    process: (response) => oauth.processPushedAuthorizationResponse(as, client, response)
}));
const open = new URL(as.authorization_endpoint);
open.searchParams.set('client_id', client.client_id);
open.searchParams.set('request_uri', pushed.value.request_uri);
const answer = new URL(await browser(open.href));
const params = await oauth.validateJwtAuthResponse(as, client, answer, state, insecure);
const tokens = await retried(async () => ({
    response: await oauth.authorizationCodeGrantRequest(as, client, auth, params, settings.redirect_uri, verifier, options),
    process: (response) => oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce, requireIdToken: true })
}));
const claims = oauth.getValidatedIdTokenClaims(tokens.value);
const about = await retried(async () => ({
    response: await oauth.userInfoRequest(as, client, tokens.value.access_token, options),
    process: (response) => oauth.processUserInfoResponse(as, client, claims.sub, response)
}));
const refreshed = await retried(async () => ({
    response: await oauth.refreshTokenGrantRequest(as, client, auth, tokens.value.refresh_token, options),
    process: (response) => oauth.processRefreshTokenResponse(as, client, response)
}));
const replayed = await oauth.authorizationCodeGrantRequest(as, client, auth, params, settings.redirect_uri, verifier, options);
const refused = await oauth.processAuthorizationCodeResponse(as, client, replayed).catch((error) => error.error);
const told = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth, refreshed.value.access_token, insecure));

say({
    done: {
        claims, about: about.value, types: [tokens.value.token_type, refreshed.value.token_type], refused, told,
        nonces: pushed.nonces || tokens.nonces, signed: params.has('code')
    }
});
process.exit(0);
