// The conversation with the harness in JSON lines (see `mod.rs`).

import { createInterface } from 'node:readline';

export const settings = JSON.parse(process.argv[2]);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const say = (message) => console.log(JSON.stringify(message));
export const listen = async () => (await lines.next()).value;

/** Has a browser open an address, sign in and consent; gives the address that it was sent to. */
export const browser = async (url) => {
    say({ open: url });
    return listen();
};
