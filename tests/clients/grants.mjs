// `oauth4webapi` outside of FAPI, with a secret: code, refresh, introspection, revocation, the device grant and backchannel
// authentication (CIBA, poll). The library validates every answer.

import * as oauth from 'oauth4webapi';
import { browser, say, settings } from './harness.mjs';

const issuer = new URL(settings.issuer);
const insecure = { [oauth.allowInsecureRequests]: true };
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
const client = { client_id: settings.client_id };
const auth = oauth.ClientSecretBasic(settings.client_secret);

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const nonce = oauth.generateRandomNonce();
const open = new URL(as.authorization_endpoint);
open.search = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    redirect_uri: settings.redirect_uri,
    scope: 'openid offline_access',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce
}).toString();
const params = oauth.validateAuthResponse(as, client, new URL(await browser(open.href)), state);
const response = await oauth.authorizationCodeGrantRequest(as, client, auth, params, settings.redirect_uri, verifier, insecure);
const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce, requireIdToken: true });
const claims = oauth.getValidatedIdTokenClaims(tokens);
const refreshed = await oauth.processRefreshTokenResponse(as, client,
    await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token, insecure));
const inspect = async (token) => oauth.processIntrospectionResponse(as, client,
    await oauth.introspectionRequest(as, client, auth, token, insecure));
const told = await inspect(refreshed.access_token);
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, refreshed.refresh_token, insecure));
const after = await inspect(refreshed.access_token);

// Both ways of asking a user elsewhere: too early first, then once the user has answered.
const early = (error) => error.error ?? String(error);
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const device = await oauth.processDeviceAuthorizationResponse(as, client,
    await oauth.deviceAuthorizationRequest(as, client, auth, { scope: 'openid' }, insecure));
const pollDevice = async () => oauth.processDeviceCodeResponse(as, client,
    await oauth.deviceCodeGrantRequest(as, client, auth, device.device_code, insecure));
const deviceEarly = await pollDevice().catch(early);
await browser(device.verification_uri_complete);
await pause(device.interval);
const onDevice = oauth.getValidatedIdTokenClaims(await pollDevice());

const asked = await oauth.processBackchannelAuthenticationResponse(as, client,
    await oauth.backchannelAuthenticationRequest(as, client, auth, { scope: 'openid', login_hint: 'alice', binding_message: 'W4SCT' }, insecure));
const pollAsked = async () => oauth.processBackchannelAuthenticationGrantResponse(as, client,
    await oauth.backchannelAuthenticationGrantRequest(as, client, auth, asked.auth_req_id, insecure));
const askedEarly = await pollAsked().catch(early);
await browser(`${settings.issuer}/approve`);
await pause(asked.interval);
const approved = oauth.getValidatedIdTokenClaims(await pollAsked());

say({
    done: {
        subjects: [claims.sub, onDevice.sub, approved.sub], rotated: refreshed.refresh_token !== tokens.refresh_token,
        told, after, early: [deviceEarly, askedEarly]
    }
});
process.exit(0);
