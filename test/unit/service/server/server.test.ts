/** A server of the service over real TLS: who may say what, on which listener, and how it ends. */
import { CreateSnapshotCommand, StorageGatewayClient } from '@aws-sdk/client-storage-gateway';
import { EBSClient, ListSnapshotBlocksCommand, PutSnapshotBlockCommand } from '@aws-sdk/client-ebs';
import { Readable } from 'node:stream';
import { Agent } from 'node:https';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SignatureVerdict, SigningName } from '../../../../src/core/service/identity/authenticator.ts';
import type { FrontEnd } from '../../../../src/core/service/server/index.ts';
import { csrOf, readCertificate, ServerRig, strangeKey, type Credentials } from './rig.ts';
import { PrivateKey } from '../../../../src/core/protocol/index.ts';

let rig: ServerRig;
let anna: Credentials & { readonly accountId: string };
let bert: Credentials & { readonly accountId: string };
const verdicts: SignatureVerdict[] = [];
let release: () => void = () => undefined;

/** One that answers when it is told to, and one that verifies as those of AWS do. */
const frontEnds = (): FrontEnd[] => {
  const wait = new Promise<void>((resolve) => {
    release = resolve;
  });
  return [
    {
      name: 'slow',
      listener: 'api',
      add: (app) => {
        app.get('/slow', async () => {
          await wait;
          return { slow: true };
        });
        app.get('/bug', () => {
          throw new Error('the secret is kumquat');
        });
      },
    },
    {
      name: 'aws',
      listener: 'api',
      add: (app) => {
        app.removeAllContentTypeParsers();
        app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
          done(null, body);
        });
        const verify = (name: SigningName) => async (request: { raw: unknown; body: unknown } & Asked) => {
          const { method, url, headers } = request;
          const body = (request.body ?? Buffer.alloc(0)) as Buffer;
          verdicts.push(await rig.net.service.authenticator.verify({ method, url, headers, body }, name));
          return {};
        };
        app.post('/', verify('storagegateway'));
        app.get('/snapshots/:id/blocks', verify('ebs'));
        app.put('/snapshots/:id/blocks/:index', verify('ebs'));
      },
    },
  ];
};
interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string | string[] | undefined>;
}

beforeEach(async () => {
  verdicts.length = 0;
  rig = await ServerRig.open(frontEnds);
  anna = await rig.account('anna');
  bert = await rig.account('bert');
});
afterEach(async () => {
  release();
  await rig[Symbol.asyncDispose]();
});

const codeOf = ({ json }: { json: unknown }): unknown => (json as { error?: { code: string } }).error?.code;

describe("the AWS SDK's clients", () => {
  it('are known by what they sign, unmodified', async () => {
    const agent = new Agent({ ca: rig.net.service.authority.certificate });
    const settings = {
      endpoint: `https://127.0.0.1:${String(rig.ports.api)}`,
      region: 'us-east-1',
      credentials: anna,
      requestHandler: { httpsAgent: agent },
      maxAttempts: 1,
    };
    const ebs = new EBSClient(settings);
    const gateway = new StorageGatewayClient(settings);
    try {
      await ebs.send(new ListSnapshotBlocksCommand({ SnapshotId: 'snap-1', MaxResults: 100, NextToken: 'a+b/c=&d' }));
      const block = {
        ...{ SnapshotId: 'snap-1', BlockIndex: 3, DataLength: 4, Checksum: 'x' },
        ChecksumAlgorithm: 'SHA256' as const,
      };
      await ebs.send(new PutSnapshotBlockCommand({ ...block, BlockData: Buffer.from('data') }));
      await ebs.send(new PutSnapshotBlockCommand({ ...block, BlockData: Readable.from([Buffer.from('data')]) }));
      const volume = 'arn:aws:storagegateway:us-east-1:111111111111:gateway/sgw-12345678/volume/vol-12345678';
      await gateway.send(new CreateSnapshotCommand({ VolumeARN: volume, SnapshotDescription: 'é' }));
      expect(verdicts.map(({ user }) => user.accountId)).toEqual(Array(4).fill(anna.accountId));
    } finally {
      ebs.destroy();
      gateway.destroy();
      agent.destroy();
    }
  });
});

describe('users', () => {
  it('of the root account make accounts and keys; others do not', async () => {
    const made = await rig.say(rig.root, 'account.create', { name: 'carl', accountId: null, clientToken: null });
    expect(made.status).toBe(200);
    const { accountId } = made.json as { accountId: string };
    const key = await rig.say(rig.root, 'key.create', { accountId, userName: 'carl' });
    expect(key.json).toMatchObject({ accountId, userName: 'carl', revokedAt: null });
    const carl = key.json as Credentials;
    expect(codeOf(await rig.say(carl, 'account.create', { name: 'x', accountId: null, clientToken: null }))).toBe(
      'root-needed',
    );
    expect(codeOf(await rig.say(carl, 'account.list', {}))).toBe('root-needed');
    expect((await rig.say(carl, 'account.find', { accountId })).json).toMatchObject({ name: 'carl' });
    expect((await rig.say(rig.root, 'account.list', {})).json).toMatchObject({ accounts: { length: 4 } });
  });

  it('see, make and revoke the keys of their own account, and no other ones', async () => {
    const own = await rig.say(anna, 'key.create', { accountId: anna.accountId, userName: 'second' });
    expect(own.status).toBe(200);
    const { accessKeyId } = own.json as Credentials;
    const list = await rig.say(anna, 'key.list', { accountId: anna.accountId });
    const { keys } = list.json as { readonly keys: readonly { readonly userName: string }[] };
    // Made within the same millisecond, they are in the order of their ids.
    expect(keys.map(({ userName }) => userName).sort()).toEqual(['anna', 'second']);
    expect(list.text).not.toContain((own.json as Credentials).secretAccessKey);
    expect(codeOf(await rig.say(anna, 'key.list', { accountId: null }))).toBe('root-needed');
    // In the same words whether it is there or not.
    const others = await rig.say(bert, 'key.revoke', { accessKeyId });
    const none = await rig.say(bert, 'key.revoke', { accessKeyId: `AKIA${'A'.repeat(16)}` });
    expect(others.status).toBe(404);
    expect(others.text.replaceAll(accessKeyId, 'ID')).toBe(none.text.replaceAll(`AKIA${'A'.repeat(16)}`, 'ID'));
    for (const name of ['key.create', 'key.list'] as const) {
      const there = await rig.say(bert, name, { accountId: anna.accountId, userName: 'x' });
      const gone = await rig.say(bert, name, { accountId: '999999999999', userName: 'x' });
      expect(there.status).toBe(404);
      expect(there.text.replaceAll(anna.accountId, 'ID')).toBe(gone.text.replaceAll('999999999999', 'ID'));
    }
    expect((await rig.say(anna, 'key.revoke', { accessKeyId })).json).toMatchObject({ changed: true });
    expect(codeOf(await rig.say(own.json as Credentials, 'service.describe', {}))).toBe('signature-wrong');
    expect((await rig.say(rig.root, 'key.revoke', { accessKeyId })).json).toMatchObject({ changed: false });
  });

  it('claim gateways for their own account alone, and see and remove those', async () => {
    const gateway = await rig.gateway(anna);
    const { gatewayId } = gateway;
    expect((await rig.say(anna, 'gateway.find', { gatewayId })).json).toMatchObject({
      ...{ gatewayId, accountId: anna.accountId, state: 'active', gatewayName: 'lab' },
    });
    expect((await rig.say(anna, 'gateway.list', { accountId: anna.accountId })).json).toMatchObject({
      gateways: [{ gatewayId }],
    });
    expect((await rig.say(bert, 'gateway.list', { accountId: bert.accountId })).json).toEqual({ gateways: [] });
    for (const name of ['gateway.find', 'gateway.remove', 'gateway.configure']) {
      const more = name === 'gateway.configure' ? { gatewayName: 'x', region: null } : {};
      const there = await rig.say(bert, name, { gatewayId, ...more });
      const none = await rig.say(bert, name, { gatewayId: 'sgw-00000000', ...more });
      expect(there.status).toBe(404);
      expect(there.text.replaceAll(gatewayId, 'ID')).toBe(none.text.replaceAll('sgw-00000000', 'ID'));
    }
    const stranger = await rig.tell('activation.register', {
      ...{ publicKey: PrivateKey.make(rig.net.random).publicKey, metadata: {} },
    });
    expect(stranger.status).toBe(200);
    const claim = {
      activationKey: 'AAAAA-AAAAA-AAAAA-AAAAA-AAAAA',
      gatewayName: 'x',
      mode: 'cached',
      region: 'r',
      confirm: true,
    };
    const foreign = await rig.say(bert, 'activation.claim', { ...claim, gatewayId: null, accountId: anna.accountId });
    expect(codeOf(foreign)).toBe('account-not-found');
    const chosen = await rig.say(bert, 'activation.claim', { ...claim, gatewayId, accountId: bert.accountId });
    expect(codeOf(chosen)).toBe('bad-message');
    expect(
      (await rig.say(anna, 'gateway.configure', { gatewayId, gatewayName: 'lab-2', region: null })).json,
    ).toMatchObject({ changed: true, gatewayName: 'lab-2', configurationVersion: 2 });
    expect((await rig.say(anna, 'gateway.remove', { gatewayId })).status).toBe(200);
    expect((await rig.say(anna, 'gateway.find', { gatewayId })).json).toMatchObject({ state: 'deregistered' });
  });

  it('send no message that is for others, or that is none', async () => {
    for (const name of [
      'account.begin',
      'export.survey',
      'export.judge',
      'activation.collect',
      '__proto__',
      'toString',
      'x',
    ])
      expect(codeOf(await rig.say(rig.root, name, {})), name).toBe('message-refused');
  });

  it('are refused with what is not in the form of its message', async () => {
    for (const [name, input] of [
      ['account.create', { name: 7, accountId: null, clientToken: null }],
      ['account.create', null],
      ['account.create', []],
      ['key.create', { accountId: anna.accountId }],
      ['gateway.find', { gatewayId: { $ne: 1 } }],
      ['gateway.find', { gatewayId: 'x'.repeat(1000) }],
      ['activation.claim', { activationKey: 'x' }],
    ] as const)
      expect(codeOf(await rig.say(rig.root, name, input)), `${name} ${JSON.stringify(input)}`).toBe('bad-message');
  });
});

describe('devices', () => {
  it('say without a signature of a user only what they sign themselves', async () => {
    for (const name of [
      'account.create',
      'key.list',
      'gateway.list',
      'export.decide',
      'snapshot.share',
      'activation.claim',
    ])
      expect(codeOf(await rig.tell(name, {})), name).toBe('message-refused');
    expect((await rig.tell('service.describe', {})).json).toMatchObject({ region: 'lab-1' });
  });

  it('get a certificate for the key that they were activated with, and for no other', async () => {
    const gateway = await rig.gateway(anna);
    const certificate = readCertificate(gateway.certificate);
    expect(certificate.subject).toBe(`CN=${gateway.gatewayId}`);
    expect(certificate.verify(readCertificate(rig.net.service.authority.certificate).publicKey)).toBe(true);
    expect(certificate.ca).toBe(false);
    const lifeDays = (Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)) / 86_400_000;
    expect(lifeDays).toBeCloseTo(7, 1);
    const other = await csrOf(PrivateKey.make(rig.net.random));
    const refused = await rig.tell('gateway.certificate', gateway.sign('gateway.certificate', { csr: other }));
    expect(codeOf(refused)).toBe('certificate-key-wrong');
    const csr = await csrOf(gateway.key);
    const broken = csr.replace(
      /([A-Za-z])([A-Za-z0-9+/]{6})\n/,
      (_all, first: string, rest: string) => `${first === 'A' ? 'B' : 'A'}${rest}\n`,
    );
    for (const bad of ['', 'x', broken, `${csr}${'x'.repeat(5000)}`]) {
      const answer = await rig.tell('gateway.certificate', gateway.sign('gateway.certificate', { csr: bad }));
      expect(['bad-certificate-request', 'bad-message', 'certificate-key-wrong']).toContain(codeOf(answer));
    }
  });
});

describe('gateways', () => {
  it('are known by their certificate, over HTTP/1.1 and HTTP/2', async () => {
    const gateway = await rig.gateway(anna);
    for (const say of [gateway.say.bind(gateway), gateway.say2.bind(gateway)]) {
      const answer = await say('gateway.configuration', gateway.sign('gateway.configuration', {}));
      expect(answer.json).toMatchObject({ version: 1, name: 'lab' });
    }
  });

  it('are refused without a certificate, and with one that is not of the CA', async () => {
    expect(codeOf(await rig.ask({ to: 'gateways', path: '/objects/x' }))).toBe('certificate-missing');
    const gateway = await rig.gateway(anna);
    // Its certificate with a key of somebody else can't even begin.
    await expect(rig.ask({ to: 'gateways', path: '/', ...gateway.tls, key: strangeKey() })).rejects.toThrow();
    const other = await ServerRig.open();
    try {
      const account = await other.account('x');
      const foreign = await other.gateway(account);
      expect(codeOf(await rig.ask({ to: 'gateways', path: '/', ...foreign.tls }))).toBe('certificate-missing');
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  it('do not pass with a certificate of a listener', async () => {
    const { certificate, privateKey } = await rig.net.service.authority.issueServer(['sgw-00000001']);
    const answer = await rig.ask({ to: 'gateways', path: '/', cert: certificate, key: privateKey });
    expect(codeOf(answer)).toBe('certificate-missing');
  });

  it('speak for themselves alone', async () => {
    const gateway = await rig.gateway(anna);
    const other = await rig.gateway(bert);
    const answer = await gateway.say('gateway.configuration', other.sign('gateway.configuration', {}));
    expect(codeOf(answer)).toBe('signer-differs');
    const request = { accountId: bert.accountId, snapshotId: 'snap-0123456789abcdef0' };
    const asked = await gateway.say('export.assess', gateway.sign('export.assess', request));
    expect(codeOf(asked)).toBe('gateway-of-other-account');
  });

  it('are refused on an open connection as soon as they are removed', async () => {
    const gateway = await rig.gateway(anna);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const look = async () =>
      rig.ask({ to: 'gateways', path: '/nothing', ...gateway.tls, agent, ca: rig.net.service.authority.certificate });
    try {
      expect(codeOf(await look())).toBe('unknown-path');
      await rig.say(anna, 'gateway.remove', { gatewayId: gateway.gatewayId });
      expect(codeOf(await look())).toBe('gateway-deregistered');
      expect((await gateway.certify()).status).toBe(403);
    } finally {
      agent.destroy();
    }
  });

  it('are refused by another server within two seconds', async () => {
    const gateway = await rig.gateway(anna);
    const { principals, gateways } = rig.net.service;
    await principals.requireActive(gateway.gatewayId, rig.net.signal);
    const { NetworkRig } = await import('../identity/rig.ts');
    const second = await NetworkRig.open(rig.net, { seed: 2 });
    await second.service.gateways.deregister(gateway.gatewayId, rig.net.signal);
    expect((await gateways.find(gateway.gatewayId, rig.net.signal))?.state).toBe('deregistered');
    rig.net.clock.ms += 2001;
    await expect(principals.requireActive(gateway.gatewayId, rig.net.signal)).rejects.toMatchObject({
      code: 'gateway-deregistered',
    });
  });

  it('are refused with a certificate that has expired meanwhile, by name', async () => {
    const gateway = await rig.gateway(anna);
    rig.net.clock.ms += 7 * 86_400_000 + 1000;
    expect(codeOf(await rig.ask({ to: 'gateways', path: '/x', ...gateway.tls }))).toBe('certificate-expired');
  });
});

describe('the listeners', () => {
  it('tell whether the store answers, to anybody', async () => {
    for (const to of ['api', 'gateways'] as const) {
      expect(await rig.ask({ to, path: '/healthz' })).toMatchObject({ status: 200, json: { state: 'serving' } });
      rig.isStoreWell = false;
      expect(await rig.ask({ to, path: '/healthz' })).toMatchObject({
        status: 503,
        json: { state: 'store-unavailable' },
      });
      rig.isStoreWell = true;
    }
  });

  it('give the certificate of the CA', async () => {
    expect((await rig.ask({ path: '/ca.pem' })).text).toBe(rig.net.service.authority.certificate);
  });

  it('tell nobody what a bug was, and the log everything but what was asked for', async () => {
    const answer = await rig.ask({ path: '/bug?token=persimmon' });
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('kumquat');
    const { requestId } = rig.log.find(({ message }) => message === 'a request found a bug')?.fields as {
      requestId: string;
    };
    expect(answer.headers['x-sgw-request-id']).toBe(requestId);
    expect(JSON.stringify(rig.log)).not.toContain('persimmon');
  });

  it('answer an address no more that sends too much that is refused, until it has been quiet', async () => {
    await rig[Symbol.asyncDispose]();
    rig = await ServerRig.open(frontEnds, { refusals: { perSecond: 1, burst: 3 } });
    for (let count = 0; count < 3; count++) expect((await rig.tell('account.list', {})).status).toBe(403);
    const refused = await rig.ask({ path: '/ca.pem' });
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect((await rig.ask({ path: '/healthz' })).status).toBe(200);
    rig.net.clock.ms += 1000;
    expect((await rig.ask({ path: '/ca.pem' })).status).toBe(200);
  });

  it('count requests by front end and status, and name nobody', async () => {
    await rig.say(anna, 'service.describe', {});
    await rig.tell('account.list', {});
    const text = await rig.metrics.text();
    expect(text).toContain('sgw_service_requests_total{front_end="messages",status="2xx"} 1');
    expect(text).toContain('sgw_service_requests_total{front_end="messages",status="4xx"} 1');
    expect(text).not.toContain(anna.accountId);
    expect(text).not.toContain(anna.accessKeyId);
  });

  it('drain: what is under way is answered, what is new is refused', async () => {
    const slow = rig.ask({ path: '/slow' });
    await expect.poll(async () => (await rig.metrics.text()).includes('connections{listener="api"} 1')).toBe(true);
    const closing = rig.server.close(new AbortController().signal);
    await expect(rig.ask({ path: '/ca.pem' })).rejects.toThrow('ECONNREFUSED');
    release();
    expect((await slow).json).toEqual({ slow: true });
    expect(await closing).toBe(true);
  });

  it('are cut when the time to drain is over', async () => {
    const slow = rig.ask({ path: '/slow' });
    const failed = expect(slow).rejects.toThrow();
    await expect.poll(async () => (await rig.metrics.text()).includes('connections{listener="api"} 1')).toBe(true);
    expect(await rig.server.close(AbortSignal.timeout(50))).toBe(false);
    await failed;
  });

  it('show a new certificate without a restart', async () => {
    const fresh = await rig.net.service.authority.issueServer(['127.0.0.1']);
    const before = await serialShown();
    rig.server.renew('api', fresh);
    const after = await serialShown();
    expect(after).not.toBe(before);
    expect(after.toLowerCase()).toBe(readCertificate(fresh.certificate).serialNumber.toLowerCase());
  });
});

async function serialShown(): Promise<string> {
  const { connect } = await import('node:tls');
  return await new Promise((resolve, reject) => {
    const socket = connect(
      { host: '127.0.0.1', port: rig.ports.api, ca: rig.net.service.authority.certificate },
      () => {
        resolve(socket.getPeerX509Certificate()?.serialNumber ?? '');
        socket.destroy();
      },
    );
    socket.on('error', reject);
  });
}
