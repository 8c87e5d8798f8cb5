/** Activation as the service sees it (S5): each refusal by its own code, and what is left in the store. */
import { beforeEach, describe, expect, it } from 'vitest';
import { PrivateKey } from '../../../src/core/protocol/index.ts';
import { ANNA, BERT, METADATA, SERVICE_ID, ServiceRig } from './rig.ts';

const MINUTE = 60_000;

let rig: ServiceRig;
beforeEach(async () => {
  rig = new ServiceRig();
  await rig.accounts();
});

describe('the sequence', () => {
  it('S5 goes from a public key to a credential bound to it, and a configuration', async () => {
    const device = rig.device();
    const expiresAt = await device.show();
    expect(Date.parse(expiresAt)).toBe(rig.clock.nowMs() + 30 * MINUTE);
    const { activationKey } = device;
    expect(await rig.operator('activation.describe', { activationKey })).toMatchObject({ metadata: METADATA });
    expect(await device.collect()).toEqual({ state: 'waiting', expiresAt });
    const { gatewayId } = await rig.operator('activation.claim', device.claim({ gatewayName: 'attic' }));
    expect(await device.collect()).toEqual({
      state: 'claimed',
      gatewayId,
      gatewayName: 'attic',
      accountId: ANNA,
      mode: 'cached',
      region: 'local',
    });
    const credential = await device.requestCredential();
    expect(credential).toMatchObject({ gatewayId, accountId: ANNA });
    const configuration = await rig.gateway('gateway.configuration', device.sign('gateway.configuration', {}));
    expect(configuration).toMatchObject({ version: 1, name: 'attic', mode: 'cached', region: 'local' });
  });

  it('the key is taken as people type it', async () => {
    const device = rig.device();
    await device.show();
    const typed = device.activationKey.toLowerCase().replaceAll('-', ' ');
    await rig.operator('activation.claim', device.claim({ activationKey: typed }));
    await expect(device.collect()).resolves.toMatchObject({ state: 'claimed' });
  });

  it('neither the key nor anything that could sign is in the store', async () => {
    const device = await rig.activated();
    const text = JSON.stringify(await rig.documents('service/'));
    expect(text).not.toContain(device.activationKey);
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      expect(text).not.toContain(device.key.secret().toString(encoding));
  });
});

describe('an activation key', () => {
  it('that is not used for 30 minutes expires; a new one can be had with the same key pair', async () => {
    const device = rig.device();
    await device.show();
    rig.clock.ms += 30 * MINUTE - 1;
    await rig.operator('activation.describe', device);
    rig.clock.ms += 1;
    const expired = { kind: 'conflict', code: 'activation-key-expired' };
    await expect(rig.operator('activation.describe', device)).rejects.toMatchObject(expired);
    await expect(rig.operator('activation.claim', device.claim())).rejects.toMatchObject(expired);
    await expect(device.collect()).rejects.toMatchObject(expired);
    const old = device.activationKey;
    await device.show();
    expect(device.activationKey).not.toBe(old);
    await rig.operator('activation.claim', device.claim());
  });

  it('that was claimed in time does not expire', async () => {
    const device = rig.device();
    await device.show();
    await rig.operator('activation.claim', device.claim());
    rig.clock.ms += 24 * 60 * MINUTE;
    await expect(device.requestCredential()).resolves.toMatchObject({ accountId: ANNA });
  });

  it('is good once', async () => {
    const device = rig.device();
    await device.show();
    await rig.operator('activation.claim', device.claim());
    const used = { kind: 'conflict', code: 'activation-key-used' };
    await expect(rig.operator('activation.claim', device.claim({ accountId: BERT }))).rejects.toMatchObject(used);
    await expect(rig.operator('activation.describe', device)).rejects.toMatchObject(used);
    await device.requestCredential();
    for (const change of [{ gatewayName: 'other' }, { mode: 'shadowing' }, { region: 'elsewhere' }] as const)
      await expect(rig.operator('activation.claim', device.claim(change))).rejects.toMatchObject(used);
    expect(await rig.documents('service/gateways/')).toHaveLength(1);
  });

  it('that is claimed again in the same words gets the same gateway, while the key is good and the gateway there', async () => {
    const device = rig.device();
    await device.show();
    const claim = async (): Promise<unknown> => await rig.operator('activation.claim', device.claim());
    const first = await claim();
    expect(await claim()).toEqual(first);
    await device.requestCredential();
    expect(await claim()).toEqual(first);
    const used = { kind: 'conflict', code: 'activation-key-used' };
    rig.clock.ms += 30 * MINUTE;
    await expect(claim()).rejects.toMatchObject(used);
    rig.clock.ms -= 10 * MINUTE;
    await rig.gateway('gateway.deregister', device.sign('gateway.deregister', {}));
    await expect(claim()).rejects.toMatchObject(used);
    expect(await rig.documents('service/gateways/')).toHaveLength(1);
  });

  it('of two that claim it at once one gets it', async () => {
    const device = rig.device();
    await device.show();
    const tries = await Promise.allSettled(
      [ANNA, BERT].map(async (accountId) => await rig.operator('activation.claim', device.claim({ accountId }))),
    );
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(tries.find(({ status }) => status === 'rejected')).toMatchObject({
      reason: { code: 'activation-key-used' },
    });
  });

  it('that a newer one replaced, that never was, or that is no key is unknown', async () => {
    const device = rig.device();
    await device.show();
    const old = device.activationKey;
    await device.show();
    const unknown = { kind: 'notFound', code: 'activation-key-unknown' };
    for (const activationKey of [old, '00000-00000-00000-00000-00000', 'x', '']) {
      await expect(rig.operator('activation.describe', { activationKey })).rejects.toMatchObject(unknown);
      await expect(rig.operator('activation.claim', device.claim({ activationKey }))).rejects.toMatchObject(unknown);
    }
  });

  it('that is wrong gets no credential, whoever signs', async () => {
    const [device, other] = [rig.device(), rig.device()];
    await device.show();
    await other.show();
    await rig.operator('activation.claim', device.claim());
    const wrong = { kind: 'denied', code: 'activation-key-wrong' };
    await expect(device.requestCredential(other.activationKey)).rejects.toMatchObject(wrong);
    await expect(device.requestCredential('')).rejects.toMatchObject(wrong);
    expect(await rig.documents('service/gateways/')).toEqual([]);
  });
});

describe('the claim', () => {
  it('needs a confirmation, an account and a name', async () => {
    const device = rig.device();
    await device.show();
    const claim = async (change: object): Promise<unknown> =>
      await rig.operator('activation.claim', device.claim(change));
    await expect(claim({ confirm: false })).rejects.toMatchObject({ kind: 'invalid', code: 'not-confirmed' });
    await expect(claim({ accountId: '999999999999' })).rejects.toMatchObject({ code: 'account-not-found' });
    await expect(claim({ gatewayName: 'vol-0' })).rejects.toMatchObject({ code: 'bad-name' });
    await expect(claim({})).resolves.toMatchObject({});
  });

  it('takes the id of a gateway only when that one has left, and for the same account', async () => {
    const first = await rig.activated();
    const gatewayId = first.credential?.gatewayId ?? '';
    const device = rig.device();
    await device.show();
    const claim = async (accountId: string): Promise<unknown> =>
      await rig.operator('activation.claim', device.claim({ gatewayId, accountId }));
    await expect(claim(ANNA)).rejects.toMatchObject({ kind: 'conflict', code: 'gateway-exists' });
    await rig.gateway('gateway.deregister', first.sign('gateway.deregister', {}));
    await expect(claim(BERT)).rejects.toMatchObject({ kind: 'conflict', code: 'gateway-exists' });
    await claim(ANNA);
    await device.requestCredential();
    await rig.gateway('gateway.configuration', device.sign('gateway.configuration', {}));
    await expect(rig.gateway('gateway.configuration', first.sign('gateway.configuration', {}))).rejects.toMatchObject({
      kind: 'denied',
      code: 'signature-wrong',
    });
  });
});

describe('the proof', () => {
  it('by another key, for an older challenge, or of other metadata is wrong', async () => {
    const device = rig.device();
    await device.register();
    const wrong = { kind: 'denied', code: 'proof-wrong' };
    const other = PrivateKey.make(rig.random);
    const body = { challenge: device.challenge, metadata: METADATA };
    const prove = async (request: Parameters<typeof device.sign<'activation.prove'>>[1], key = device.key) =>
      await rig.gateway('activation.prove', device.sign('activation.prove', request, { key }));
    await expect(prove(body, other)).rejects.toMatchObject(wrong);
    await expect(prove({ ...body, challenge: 'x' })).rejects.toMatchObject(wrong);
    await expect(prove({ ...body, metadata: { name: 'other' } })).rejects.toMatchObject(wrong);
    await device.register();
    await expect(prove(body)).rejects.toMatchObject(wrong);
    await device.prove();
    await expect(device.prove()).rejects.toMatchObject(wrong);
  });

  it('what is shown to the customer is what the device signed, not what somebody else registered for it', async () => {
    const device = rig.device();
    await device.show();
    const { publicKey } = device.key;
    await rig.gateway('activation.register', { publicKey, metadata: { name: 'a trap' } });
    expect(await rig.operator('activation.describe', device)).toMatchObject({ metadata: METADATA });
    await rig.operator('activation.claim', device.claim());
    await expect(device.requestCredential()).resolves.toBeDefined();
  });

  it('a public key or metadata that can be none is refused', async () => {
    const { publicKey } = rig.device().key;
    const bad = { kind: 'invalid', code: 'bad-message' };
    const register = async (input: object): Promise<unknown> =>
      await rig.gateway('activation.register', { publicKey, metadata: {}, ...input });
    await expect(register({ publicKey: 'AAAA' })).rejects.toMatchObject(bad);
    await expect(register({ metadata: { name: 'x'.repeat(257) } })).rejects.toMatchObject(bad);
    await expect(register({ metadata: { name: 1 } })).rejects.toMatchObject(bad);
    await expect(register({ metadata: null })).rejects.toMatchObject(bad);
    const many = Object.fromEntries(Array.from({ length: 17 }, (_, n) => [String(n), '']));
    await expect(register({ metadata: many })).rejects.toMatchObject(bad);
  });
});

describe('starting again', () => {
  it('every message can be repeated, and still one gateway is made', async () => {
    const device = rig.device();
    await device.register();
    await device.show();
    await device.show();
    await rig.operator('activation.claim', device.claim());
    await device.collect();
    const credential = await device.requestCredential();
    expect(await device.requestCredential()).toEqual(credential);
    expect(await rig.documents('service/gateways/')).toMatchObject([{ state: 'active' }]);
    expect(await rig.documents('service/activations/')).toMatchObject([{ state: 'issued' }]);
  });

  it('a key pair that was claimed does not begin again', async () => {
    const device = rig.device();
    await device.show();
    await rig.operator('activation.claim', device.claim());
    await expect(device.register()).rejects.toMatchObject({ kind: 'conflict', code: 'activation-claimed' });
  });

  it.each(['shown', 'claimed', 'issued'])('what was given up when it was %s can not be used', async (when) => {
    const device = rig.device();
    await device.show();
    if (when !== 'shown') await rig.operator('activation.claim', device.claim());
    if (when === 'issued') await device.requestCredential();
    for (let times = 0; times < 2; times++)
      await rig.gateway('activation.withdraw', device.sign('activation.withdraw', {}));
    const gone = { kind: 'conflict', code: 'activation-withdrawn' };
    await expect(rig.operator('activation.claim', device.claim())).rejects.toMatchObject(gone);
    await expect(device.collect()).rejects.toMatchObject(gone);
    await expect(device.register()).rejects.toMatchObject(gone);
    const body = { activationKey: device.activationKey, gatewayId: 'sgw-00000000', accountId: ANNA };
    await expect(
      rig.gateway('activation.credential', device.sign('activation.credential', body)),
    ).rejects.toMatchObject(gone);
    const active = (await rig.documents('service/gateways/')).filter((gateway) => gateway['state'] === 'active');
    expect(active).toEqual([]);
    if (when !== 'issued') return;
    await expect(rig.gateway('gateway.configuration', device.sign('gateway.configuration', {}))).rejects.toMatchObject({
      kind: 'denied',
      code: 'gateway-deregistered',
    });
  });

  it('a gateway that the operator removed does not come back by the key pair and the activation key that it still has', async () => {
    const stolen = await rig.activated();
    const gatewayId = stolen.credential?.gatewayId ?? '';
    await rig.operator('gateway.remove', { gatewayId });
    const left = { kind: 'denied', code: 'gateway-deregistered' };
    await expect(stolen.requestCredential()).rejects.toMatchObject(left);
    // Nor once another one has taken its id, and has left as well.
    const heir = rig.device();
    await heir.show();
    await rig.operator('activation.claim', heir.claim({ gatewayId }));
    await heir.requestCredential();
    await expect(stolen.requestCredential()).rejects.toMatchObject(left);
    await rig.operator('gateway.remove', { gatewayId });
    await expect(stolen.requestCredential()).rejects.toMatchObject(left);
    expect(await rig.documents('service/gateways/')).toMatchObject([{ state: 'deregistered' }]);
  });

  it('one that is given up while its credential is made leaves no gateway', async () => {
    const device = rig.device();
    await device.show();
    await rig.operator('activation.claim', device.claim());
    const customer = await device.collect();
    const { gatewayId } = customer as { gatewayId: string };
    const body = { activationKey: device.activationKey, gatewayId, accountId: ANNA };
    const put = rig.objects.put.bind(rig.objects);
    rig.objects.put = async (key, ...rest) => {
      if (key.startsWith('service/gateways/')) {
        rig.objects.put = put;
        await rig.gateway('activation.withdraw', device.sign('activation.withdraw', {}));
      }
      return await put(key, ...rest);
    };
    await expect(
      rig.gateway('activation.credential', device.sign('activation.credential', body)),
    ).rejects.toMatchObject({ kind: 'conflict', code: 'activation-withdrawn' });
    const active = (await rig.documents('service/gateways/')).filter((gateway) => gateway['state'] === 'active');
    expect(active).toEqual([]);
  });

  it('nobody else gives it up', async () => {
    const [device, other] = [rig.device(), rig.device()];
    await device.show();
    const forged = device.sign('activation.withdraw', {}, { key: other.key });
    await expect(rig.gateway('activation.withdraw', forged)).rejects.toMatchObject({ code: 'signature-wrong' });
    await rig.operator('activation.claim', device.claim());
  });
});

describe('a request of a gateway', () => {
  it('is refused when it is unsigned, forged, of another service, old, early, or repeated', async () => {
    const device = await rig.activated();
    const send = async (request: ReturnType<typeof device.sign<'gateway.configuration'>>): Promise<unknown> =>
      await rig.gateway('gateway.configuration', request);
    const sign = (change: object = {}): Parameters<typeof send>[0] => device.sign('gateway.configuration', {}, change);
    const denied = async (request: Parameters<typeof send>[0], code: string): Promise<void> => {
      await expect(send(request)).rejects.toMatchObject({ kind: 'denied', code });
    };
    await denied(sign({ key: PrivateKey.make(rig.random) }), 'signature-wrong');
    await denied(sign({ serviceId: `${SERVICE_ID}0` }), 'signature-wrong');
    await denied(sign({ signer: 'sgw-ffffffff' }), 'gateway-unknown');
    await denied(sign({ signer: '../accounts/x' }), 'gateway-unknown');
    await denied(sign({ credentialId: 'cred-0' }), 'credential-wrong');
    await denied(sign({ credentialId: null }), 'credential-wrong');
    const { signature: _, ...unsigned } = sign();
    await expect(send(unsigned as never)).rejects.toMatchObject({ kind: 'invalid', code: 'bad-message' });
    for (const misformed of [{ credentialId: 7 }, { credentialId: {} }])
      await expect(send(sign(misformed))).rejects.toMatchObject({ kind: 'invalid', code: 'bad-message' });
    for (const body of [null, undefined, 'text'])
      await expect(send(device.sign('gateway.configuration', body as never))).rejects.toMatchObject({
        kind: 'invalid',
        code: 'bad-message',
      });
    const request = sign();
    await send(request);
    await denied(request, 'request-replayed');
    const late = sign();
    rig.clock.ms += 5 * MINUTE + 1;
    await denied(late, 'request-stale');
    // Also once its nonce may have been forgotten.
    await denied(request, 'request-stale');
    const early = sign();
    rig.clock.ms -= 5 * MINUTE + 1;
    await denied(early, 'request-stale');
    await send(sign());
  });

  it('of a gateway that left is refused, and leaving again is nothing', async () => {
    const device = await rig.activated();
    for (let times = 0; times < 2; times++)
      await rig.gateway('gateway.deregister', device.sign('gateway.deregister', {}));
    await expect(rig.gateway('gateway.configuration', device.sign('gateway.configuration', {}))).rejects.toMatchObject({
      kind: 'denied',
      code: 'gateway-deregistered',
    });
    await rig.operator('gateway.remove', { gatewayId: 'sgw-ffffffff' });
  });

  it('messages of operators are not for gateways, nor the other way round', async () => {
    const refused = { kind: 'denied', code: 'message-refused' };
    await expect(rig.gateway('account.list', {})).rejects.toMatchObject(refused);
    const device = rig.device();
    await device.show();
    await expect(rig.gateway('activation.claim', device.claim())).rejects.toMatchObject(refused);
    const { publicKey } = device.key;
    await expect(rig.operator('activation.register', { publicKey, metadata: {} })).rejects.toMatchObject(refused);
    await expect(rig.operator('nothing' as 'account.list', {})).rejects.toMatchObject(refused);
  });
});
