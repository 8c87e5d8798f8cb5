/** What the audit says of administration: each decision, before anything is done, and no secret. */
import { describe, expect, it } from 'vitest';
import { toSgwError } from '../../../../src/core/kit/index.ts';
import type { MessageInput, MessageName } from '../../../../src/core/protocol/index.ts';
import type { User } from '../../../../src/core/service/identity/principal.ts';
import { NetworkRig } from '../identity/rig.ts';

const { signal } = new AbortController();
const ALERT_SECRET = 'kumquat-'.repeat(5);

async function scene() {
  const rig = await NetworkRig.open();
  const { accounts, keys, rootAccountId, rootKey } = rig.service;
  const user = async (name: string): Promise<User & { readonly secret: string }> => {
    const { accountId } = await accounts.create({ name, accountId: null, clientToken: null }, signal);
    const { accessKeyId, secretAccessKey: secret } = await keys.create({ accountId, userName: name }, signal);
    return { kind: 'user', accountId, accessKeyId, isRoot: false, secret };
  };
  const root: User = {
    ...{ kind: 'user', accountId: rootAccountId, isRoot: true },
    accessKeyId: rootKey?.accessKeyId ?? '',
  };
  const audit = async (): Promise<Record<string, unknown>[]> => {
    const found: Record<string, unknown>[] = [];
    for await (const { key } of rig.objects.list('service/audit/')) {
      const text = (await rig.objects.get(key))?.bytes.toString('utf8') ?? '';
      found.push(JSON.parse(text) as Record<string, unknown>);
    }
    return found;
  };
  const ask = async <N extends MessageName>(who: User, name: N, input: MessageInput<N>): Promise<string> =>
    rig.messages.asUser(who, name, input, signal).then(
      () => 'ok',
      (error: unknown) => toSgwError(error).code,
    );
  return { rig, root, anna: await user('anna'), bert: await user('bert'), audit, ask };
}

describe('the audit of administration', () => {
  it('has a record of each decision: who, by which key, what about, and whether it was granted', async () => {
    const { rig, root, anna, bert, audit, ask } = await scene();
    const { accountId } = anna;
    const gatewayId = 'sgw-0badf00d';
    const record = (who: User, message: string, subject: object, granted = true): object => ({
      ...{ kind: 'administer', gatewayId: null, accountId: who.accountId, accessKeyId: who.accessKeyId },
      ...{ message, subject, granted },
    });
    const expected: object[] = [];
    const asked = async <N extends MessageName>(
      [who, name, input]: readonly [User, N, MessageInput<N>],
      subject: object,
      code = 'ok',
    ): Promise<void> => {
      rig.clock.ms += 1000;
      expect(await ask(who, name, input)).toBe(code);
      expected.push(record(who, name, subject, code === 'ok'));
    };
    await asked([root, 'account.create', { name: 'carl', accountId: null, clientToken: null }], { name: 'carl' });
    const taken = { name: 'dora', accountId, clientToken: null };
    await asked([anna, 'account.create', taken], { name: 'dora', accountId }, 'root-needed');
    await asked([anna, 'key.create', { accountId, userName: 'backup' }], { accountId, name: 'backup' });
    await asked([bert, 'key.create', { accountId, userName: 'x' }], { accountId, name: 'x' }, 'account-not-found');
    const { accessKeyId } = anna;
    await asked([bert, 'key.revoke', { accessKeyId }], { accessKeyId }, 'key-not-found');
    await asked([anna, 'key.revoke', { accessKeyId }], { accessKeyId });
    await asked([root, 'account.limit', { accountId, limits: { keys: 3 } }], { accountId });
    await asked([bert, 'gateway.remove', { gatewayId }], { gatewayId }, 'gateway-not-found');
    const configure = { gatewayId, gatewayName: 'x', region: null };
    await asked([bert, 'gateway.configure', configure], { gatewayId }, 'gateway-not-found');
    const hook = { gatewayId: null, webhookUrl: 'https://hooks.example.org/', repeatMs: null, secret: ALERT_SECRET };
    const alert = { ...hook, accountId: bert.accountId, name: 'a', thresholds: { notConnectedMs: 60_000 } };
    await asked([bert, 'alert.set', alert], { accountId: bert.accountId, name: 'a' });
    const found = await audit();
    expect(found).toHaveLength(expected.length);
    expect(found.map(({ at: _, ...rest }) => rest)).toMatchObject(expected);
    // And no secret of anybody's.
    const text = JSON.stringify(found);
    for (const secret of [ALERT_SECRET, anna.secret, bert.secret]) expect(text).not.toContain(secret);
  });

  it('says nothing of who only looks, nor of what is in no form', async () => {
    const { root, anna, audit, ask } = await scene();
    const { accountId } = anna;
    expect(await ask(anna, 'key.list', { accountId })).toBe('ok');
    expect(await ask(root, 'account.list', {})).toBe('ok');
    expect(await ask(anna, 'account.quotas', { accountId })).toBe('ok');
    expect(await ask(anna, 'key.create', { accountId: 'none', userName: 'x' })).toBe('bad-message');
    expect(await audit()).toEqual([]);
  });

  it('comes before what it is of: without it nothing is done', async () => {
    const { rig, root, ask } = await scene();
    const put = rig.objects.put.bind(rig.objects);
    rig.objects.put = async (key, body, options) => {
      if (key.startsWith('service/audit/')) throw toSgwError(new Error('the store is away'));
      return await put(key, body, options);
    };
    expect(await ask(root, 'account.create', { name: 'carl', accountId: null, clientToken: null })).not.toBe('ok');
    rig.objects.put = put;
    expect((await rig.service.accounts.list(signal)).map(({ name }) => name)).not.toContain('carl');
  });
});
