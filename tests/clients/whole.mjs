// Everything that `openid-client` can do with an authorization server: pushed request, signed-in user, DPoP, refresh,
// introspection, UserInfo, revocation, the device grant, the logout URL. The library checks every answer by itself.

import * as oidc from 'openid-client';
import { browser, say, settings } from './harness.mjs';

const execute = [oidc.allowInsecureRequests];
const auth = oidc.ClientSecretBasic(settings.client_secret);
const config = await oidc.discovery(new URL(settings.issuer), settings.client_id, undefined, auth, { execute });
const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'));

const verifier = oidc.randomPKCECodeVerifier();
const state = oidc.randomState();
const nonce = oidc.randomNonce();
const url = await oidc.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: settings.redirect_uri,
    scope: 'openid profile email offline_access',
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    claims: JSON.stringify({ id_token: { email: null } }),
    state,
    nonce
}, { DPoP });
const answer = new URL(await browser(url.href));
const tokens = await oidc.authorizationCodeGrant(config, answer, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
    idTokenExpected: true
}, undefined, { DPoP });
const claims = tokens.claims();
const about = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub, { DPoP });
const asBearer = await oidc.fetchUserInfo(config, tokens.access_token, claims.sub).then(() => 200, (error) => error.cause?.status ?? error.status ?? String(error));
const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP });
const told = await oidc.tokenIntrospection(config, refreshed.access_token);
await oidc.tokenRevocation(config, refreshed.refresh_token);
const after = await oidc.tokenIntrospection(config, refreshed.access_token);

const device = await oidc.initiateDeviceAuthorization(config, { scope: 'openid' });
await browser(device.verification_uri_complete);
const onDevice = await oidc.pollDeviceAuthorizationGrant(config, device, undefined, { DPoP });

const logout = oidc.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: settings.post_logout_redirect_uri,
    state: 'bye'
});
const left = await browser(logout.href);

say({
    done: {
        pushed: url.searchParams.get('request_uri'), claims, about, asBearer,
        types: [tokens.token_type, refreshed.token_type, onDevice.token_type],
        told, after, device: { code: device.user_code, subject: onDevice.claims().sub }, left
    }
});
process.exit(0);
