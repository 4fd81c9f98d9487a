// A peer of `cargo measure`: node-oidc-provider with its in-memory store, client credentials and ES256 access tokens.

import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const [port, secret, resource] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' };
const access = { scope: 'docs.read', accessTokenFormat: 'jwt', accessTokenTTL: 900, jwt: { sign: { alg: 'ES256' } } };

const provider = new Provider(`http://localhost:${port}`, {
    clients: [{
        client_id: 'machine',
        client_secret: secret,
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        scope: 'docs.read',
        token_endpoint_auth_method: 'client_secret_post',
        id_token_signed_response_alg: 'ES256'
    }],
    scopes: ['docs.read'],
    jwks: { keys: [key] },
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        resourceIndicators: {
            enabled: true,
            defaultResource: () => resource,
            getResourceServerInfo: () => ({ ...access, audience: resource })
        }
    }
});
provider.listen(Number(port), '127.0.0.1');
