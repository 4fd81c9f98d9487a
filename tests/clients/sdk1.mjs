// The TypeScript SDK, first generation (`@modelcontextprotocol/sdk`).

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { settings } from './harness.mjs';
import { connect, Provider, work } from './provider.mjs';

const provider = new Provider();
let transport;
const attempt = async () => {
    const client = new Client({ name: 'sdk1', version: '1.0.0' });
    transport = new StreamableHTTPClientTransport(new URL(settings.resource), { authProvider: provider });
    await client.connect(transport);
    return client;
};
const finish = (answer) => transport.finishAuth(answer.get('code'));
const client = await connect(provider, attempt, finish, (error) => error instanceof UnauthorizedError);
await work(client, provider, () => transport.protocolVersion);
