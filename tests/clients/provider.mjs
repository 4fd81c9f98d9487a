// What both generations of the TypeScript SDK ask of the program that embeds them. Everything but the server's address is
// discovered.

import { listen, say, settings } from './harness.mjs';

/** Keeps registration and tokens for the length of the process. */
export class Provider {
    redirectUrl = settings.redirect_uri;
    clientMetadataUrl = settings.client_metadata_url ?? undefined;
    clientMetadata = {
        client_name: settings.name,
        redirect_uris: [settings.redirect_uri],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'none'
    };

    state = () => (this.sent = crypto.randomUUID());
    clientInformation = () => this.client;
    saveClientInformation = (client) => void (this.client = client);
    tokens = () => this.kept;
    saveTokens = (tokens) => void (this.kept = tokens);
    discoveryState = () => this.discovered;
    saveDiscoveryState = (state) => void (this.discovered = state);
    saveCodeVerifier = (verifier) => void (this.verifier = verifier);
    codeVerifier = () => this.verifier;
    redirectToAuthorization = (url) => say({ open: String(url) });
}

/** Connects; `finish` is called with the parameters of the authorization answer when the server asked for sign-in. */
export async function connect(provider, attempt, finish, isUnauthorized) {
    try {
        return await attempt();
    } catch (error) {
        if (!isUnauthorized(error)) throw error;
        const answer = new URL(await listen()).searchParams;
        if (answer.get('state') !== provider.sent) throw new Error('state does not match');
        await finish(answer);
        return await attempt();
    }
}

/** Lists, searches, fetches, waits for the token to expire, searches again. */
export async function work(client, provider, protocol) {
    const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;
    const tools = (await client.listTools()).tools.map((tool) => tool.name);
    const found = await call('search', { query: settings.query });
    const fetched = await call('fetch', { id: found.results[0].id });
    const { access_token, refresh_token } = provider.kept;
    say({ before: { access_token, refresh_token } });
    await listen();
    const again = await call('search', { query: settings.query });
    say({
        done: {
            client_id: provider.client.client_id,
            protocol: protocol(),
            tools,
            found,
            fetched,
            again,
            access_token: provider.kept.access_token,
            refresh_token: provider.kept.refresh_token
        }
    });
    await client.close();
    process.exit(0);
}
