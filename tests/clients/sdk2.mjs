// The TypeScript SDK, second generation (`@modelcontextprotocol/client`).

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { settings } from './harness.mjs';
import { connect, Provider, work } from './provider.mjs';

const provider = new Provider();
let transport;
const attempt = async () => {
    const client = new Client({ name: 'sdk2', version: '2.0.0' }, { versionNegotiation: { mode: settings.era } });
    transport = new StreamableHTTPClientTransport(new URL(settings.resource), { authProvider: provider });
    await client.connect(transport);
    return client;
};
const finish = (answer) => transport.finishAuth(answer);
const client = await connect(provider, attempt, finish, (error) => error instanceof UnauthorizedError);
await work(client, provider, () => client.getNegotiatedProtocolVersion());
