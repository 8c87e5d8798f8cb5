/** What strangers, and customers against each other, try at the listeners: to end a server, to fill it, to keep others out. */
import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { connect, type Socket } from 'node:net';
import fastify from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PrivateKey, signRequest, type Signed } from '../../../../src/core/protocol/index.ts';
import { remoteOperations } from '../../../../src/core/service/controlplane/remote-operations.ts';
import type { GatewayRecord } from '../../../../src/core/service/identity/gateways.ts';
import { SignatureCheck } from '../../../../src/core/service/identity/signature-check.ts';
import { SERVICE_ID } from '../identity/rig.ts';
import { ServerRig, type Credentials } from './rig.ts';

const ACCOUNTS = ['111111111111', '222222222222'] as const;
let rig: ServerRig;
let anna: Credentials & { readonly accountId: string };

const open = async (limits: Parameters<typeof ServerRig.open>[1]): Promise<void> => {
  rig = await ServerRig.open(() => [], limits);
  anna = await rig.account('anna');
};
beforeEach(async () => {
  await open({});
});
afterEach(async () => {
  await rig[Symbol.asyncDispose]();
});

const codeOf = ({ json }: { json: unknown }): unknown => (json as { error?: { code: string } }).error?.code;

/** As whoever has a key pair of his own, which is anybody. */
async function strangersMessage(body: object): Promise<{ name: string; input: Signed<unknown> }> {
  const key = PrivateKey.make(rig.net.random);
  const registered = await rig.tell('activation.register', { publicKey: key.publicKey, metadata: {} });
  const { activationId: signer } = registered.json as { activationId: string };
  const { clock, random } = rig.net;
  const by = { key, signer, credentialId: null, serviceId: SERVICE_ID, clock, random };
  return { name: 'activation.collect', input: signRequest(by, 'activation.collect', body as Record<string, never>) };
}

describe('messages', () => {
  it('that are nested so deep that nothing could write them down again are refused, and are no bug', async () => {
    const { input } = await strangersMessage({ more: 1 });
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    const body = JSON.stringify(input).replace('"more":1', `"more":${deep}`);
    const headers = { 'content-type': 'application/json' };
    const answer = await rig.ask({ method: 'POST', path: '/v1/messages/activation.collect', headers, body });
    expect([answer.status, codeOf(answer)]).toEqual([400, 'bad-message']);
    expect(rig.log.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('of strangers are read no further than the largest that there is', async () => {
    const answer = await rig.tell('activation.register', { publicKey: 'x', metadata: { name: 'x'.repeat(65_536) } });
    expect([answer.status, codeOf(answer)]).toEqual([413, 'bad-request']);
  });
});

describe('a gateway', () => {
  it('that begins messages and ends none keeps no memory of others, and no others out', async () => {
    const [gateway, other] = [await rig.gateway(anna, 'one'), await rig.gateway(anna, 'two')];
    const ca = rig.net.service.authority.certificate;
    const session = http2Connect(`https://127.0.0.1:${String(rig.ports.gateways)}`, { ca, ...gateway.tls });
    const headers = {
      ':method': 'POST',
      ':path': '/v1/messages/gateway.configuration',
      'content-type': 'application/json',
    };
    for (let count = 0; count < 32; count++)
      session
        .request(headers)
        .on('error', () => undefined)
        .write('{');
    const configuration = async (of: typeof gateway) =>
      codeOf(await of.say('gateway.configuration', of.sign('gateway.configuration', {})));
    await expect.poll(async () => configuration(gateway)).toBe('too-many-requests');
    expect(await configuration(other)).toBeUndefined();
    session.destroy();
    await expect.poll(async () => configuration(gateway)).toBeUndefined();
  });
});

describe('an address', () => {
  it('is not shut out by what a user does wrong, nor by a gateway', async () => {
    await rig[Symbol.asyncDispose]();
    await open({ refusals: { perSecond: 1, burst: 3 } });
    const gateway = await rig.gateway(anna);
    for (let count = 0; count < 10; count++) {
      expect((await rig.say(anna, 'alert.list', { accountId: 7 })).status).toBe(400);
      expect((await rig.say(anna, 'account.list', {})).status).toBe(403);
      expect((await gateway.say('account.list', {})).status).toBe(403);
    }
    expect((await rig.ask({ path: '/ca.pem' })).status).toBe(200);
  });

  it('is shut out by signatures that are none, also those of somebody that there is', async () => {
    for (const wrong of [
      { ...anna, secretAccessKey: 'x' },
      { accessKeyId: 'x', secretAccessKey: 'x' },
    ]) {
      await rig[Symbol.asyncDispose]();
      await open({ refusals: { perSecond: 1, burst: 3 } });
      for (let count = 0; count < 3; count++) expect((await rig.say(wrong, 'user.describe', {})).status).toBe(403);
      expect((await rig.ask({ path: '/ca.pem' })).status).toBe(503);
      expect((await rig.say(anna, 'user.describe', {})).status).toBe(503);
    }
  });

  it('begins no more activations than the measure that strangers have', async () => {
    await rig[Symbol.asyncDispose]();
    await open({ unsigned: { perSecond: 1, burst: 5 } });
    const begin = async () =>
      rig.tell('activation.register', { publicKey: PrivateKey.make(rig.net.random).publicKey, metadata: {} });
    for (let count = 0; count < 5; count++) expect((await begin()).status).toBe(200);
    expect(codeOf(await begin())).toBe('too-many-requests');
    rig.net.clock.ms += 1000;
    expect((await begin()).status).toBe(200);
  });

  it('has no more connections than its measure, whether they speak or not', async () => {
    await rig[Symbol.asyncDispose]();
    await open({ connectionsOfAddressMax: 4 });
    const sockets: Socket[] = [];
    for (let count = 0; count < 4; count++) sockets.push(connect(rig.ports.api, '127.0.0.1'));
    await Promise.all(sockets.map(async (socket) => once(socket, 'connect')));
    const more = connect(rig.ports.api, '127.0.0.1');
    more.on('error', () => undefined);
    await once(more, 'close');
    for (const socket of sockets) socket.destroy();
    await expect.poll(async () => (await rig.ask({ path: '/ca.pem' }).catch(() => undefined))?.status).toBe(200);
  });
});

describe('nonces', () => {
  it('of one sender, and of devices that nobody has claimed, leave room for those of everybody else', () => {
    const { clock, random } = rig.net;
    const { context } = rig.net.service;
    const check = new SignatureCheck(context, { max: 32, ofSignerMax: 8 });
    const key = PrivateKey.make(random);
    const template = (signer: string): Signed<unknown> => {
      const by = { key, signer, credentialId: null, serviceId: SERVICE_ID, clock, random };
      return signRequest(by, 'gateway.configuration', {});
    };
    const send = (signer: string): string => {
      try {
        check.verify(key.publicKey, 'gateway.configuration', template(signer));
        return 'taken';
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    for (let device = 0; device < 4; device++)
      for (let count = 0; count < 8; count++) expect(send(`act-${String(device)}`)).toBe('taken');
    expect(send('act-9')).toBe('too-many-requests');
    for (let count = 0; count < 8; count++) expect(send('sgw-00000001')).toBe('taken');
    expect(send('sgw-00000001')).toBe('too-many-requests');
    expect(send('sgw-00000002')).toBe('taken');
    clock.ms += 5 * 60_000 + 1;
    expect([send('act-9'), send('sgw-00000001')]).toEqual(['taken', 'taken']);
  });
});

describe('calls from afar', () => {
  it('of an account whose gateways never answer leave room for those of others', async () => {
    const app = fastify();
    const record = (gatewayId: string): GatewayRecord =>
      ({ gatewayId, state: 'active', accountId: gatewayId.endsWith('1') ? ACCOUNTS[0] : ACCOUNTS[1] }) as GatewayRecord;
    let waiting = 0;
    const { promise: released, resolve: release } = Promise.withResolvers<undefined>();
    const frontEnd = remoteOperations({
      authenticator: {
        verify: async ({ headers }) =>
          Promise.resolve({
            user: { kind: 'user', accountId: String(headers['x-account']), accessKeyId: 'k', isRoot: false },
            payloadSha256: null,
          }),
      },
      gateways: { find: async (id) => Promise.resolve(record(id)) },
      calls: {
        call: async (_id, _operation, _input, { accountId }) => {
          if (accountId === ACCOUNTS[0]) {
            waiting++;
            await released;
          }
          return {};
        },
        isConnected: async () => Promise.resolve(true),
      },
      audit: { record: async () => Promise.resolve() },
    });
    await app.register(async (inner) => {
      await frontEnd.add(inner);
    });
    await app.ready();
    const ask = async (account: 0 | 1) =>
      app.inject({
        method: 'POST',
        url: `/v1/gateways/sgw-0000000${String(account + 1)}/operations/status`,
        headers: { 'content-type': 'application/json', 'x-account': ACCOUNTS[account] },
        payload: JSON.stringify({ input: {}, lockTimeoutMs: 0, secrets: [] }),
      });
    const held = Array.from({ length: 256 }, async () => ask(0));
    await expect.poll(() => waiting).toBe(256);
    expect((await ask(0)).body).toContain('256 calls are under way');
    expect((await ask(1)).statusCode).toBe(200);
    release(undefined);
    await Promise.all(held);
    expect((await ask(0)).statusCode).toBe(200);
    await app.close();
  });
});
