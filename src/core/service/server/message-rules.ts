/**
 * Which messages the network may bring, from whom, and in which form: the one table of that. What is not in it is refused.
 *
 * `device`: whoever holds a private key and signs with it, before and after there is a certificate. `gateway`: over mutual
 * TLS. `user`: signed by an access key.
 */
import Type, { type TSchema } from 'typebox';
import { LIMIT_NAMES, type MessageName } from '../../protocol/index.ts';

export type Sender = 'device' | 'gateway' | 'user';

export interface MessageRule {
  readonly from: readonly Sender[];
  readonly input: TSchema;
}

const Text = (maxLength: number): TSchema => Type.String({ maxLength });
const Nullable = (schema: TSchema): TSchema => Type.Union([schema, Type.Null()]);
const AccountId = Type.String({ pattern: '^[0-9]{12}$' });
/** What is none is not found, rather than wrong. */
const Id = Text(128);
const Name = Text(256);
const Nothing = Type.Object({}, { additionalProperties: false });
/** A gateway that is newer may say more; all of it is signed. */
const signed = (body: Record<string, TSchema>): TSchema =>
  Type.Object({
    body: Type.Object(body),
    signer: Text(64),
    credentialId: Nullable(Text(64)),
    timestamp: Text(64),
    nonce: Text(64),
    signature: Text(128),
  });

const Metadata = Type.Record(Text(64), Text(256), { maxProperties: 16 });
const Limit = Nullable(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));
const CSR_LENGTH_MAX = 4096;
const SNAPSHOTS_MAX = 10_000;
const REASON_LENGTH_MAX = 500;
const WEBHOOK_LENGTH_MAX = 4096;
/** Settings by name, whose values are checked where they are known. */
const Changes = Type.Record(Text(64), Type.Unknown(), { maxProperties: 32 });
const Shared = signed({ accountId: AccountId, snapshotId: Id, withAccountId: Text(32) });

const OfGroup = signed({ accountId: AccountId, group: Id });
const OfGroupGateway = signed({ accountId: AccountId, group: Id, gateway: Id });

const RULES: Partial<Record<MessageName, MessageRule>> = {
  'service.describe': { from: ['device', 'gateway', 'user'], input: Nothing },
  'user.describe': { from: ['user'], input: Nothing },
  'activation.register': { from: ['device'], input: Type.Object({ publicKey: Text(64), metadata: Metadata }) },
  'activation.prove': { from: ['device'], input: signed({ challenge: Text(64), metadata: Metadata }) },
  'activation.collect': { from: ['device'], input: signed({}) },
  'activation.credential': {
    from: ['device'],
    input: signed({ activationKey: Text(64), gatewayId: Id, accountId: Text(32) }),
  },
  'activation.withdraw': { from: ['device'], input: signed({}) },
  'activation.describe': { from: ['user'], input: Type.Object({ activationKey: Text(64) }) },
  'activation.claim': {
    from: ['user'],
    input: Type.Object({
      activationKey: Text(64),
      gatewayId: Nullable(Id),
      gatewayName: Name,
      accountId: AccountId,
      mode: Type.Union([Type.Literal('cached'), Type.Literal('shadowing')]),
      region: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' }),
      confirm: Type.Boolean(),
    }),
  },
  'gateway.configuration': { from: ['device', 'gateway'], input: signed({}) },
  'gateway.certificate': { from: ['device', 'gateway'], input: signed({ csr: Text(CSR_LENGTH_MAX) }) },
  'gateway.deregister': { from: ['device', 'gateway'], input: signed({}) },
  'gateway.list': { from: ['user'], input: Type.Object({ accountId: Nullable(AccountId) }) },
  'gateway.find': { from: ['user'], input: Type.Object({ gatewayId: Id }) },
  'gateway.configure': {
    from: ['user'],
    input: Type.Object({
      gatewayId: Id,
      gatewayName: Nullable(Name),
      region: Nullable(Text(64)),
      serving: Type.Optional(Changes),
      answer: Type.Optional(
        Nullable(
          Type.Object({
            requestId: Nullable(Text(64)),
            accept: Type.Boolean(),
            reason: Nullable(Text(REASON_LENGTH_MAX)),
          }),
        ),
      ),
      expectedVersion: Type.Optional(Nullable(Type.Integer({ minimum: 1 }))),
    }),
  },
  'gateway.settings': { from: ['user'], input: Type.Object({ gatewayId: Id }) },
  'gateway.request-configuration': { from: ['device', 'gateway'], input: signed({ changes: Changes }) },
  'gateway.remove': { from: ['user'], input: Type.Object({ gatewayId: Id }) },
  'export.decide': {
    from: ['gateway'],
    input: signed({
      accountId: AccountId,
      snapshotId: Id,
      purpose: Type.Union([Type.Literal('export'), Type.Literal('clone')]),
    }),
  },
  'export.list': {
    from: ['gateway'],
    input: signed({ accountId: AccountId, snapshotIds: Type.Array(Id, { maxItems: SNAPSHOTS_MAX }) }),
  },
  'export.assess': { from: ['gateway'], input: signed({ accountId: AccountId, snapshotId: Id }) },
  'snapshot.share': { from: ['gateway'], input: Shared },
  'snapshot.unshare': { from: ['gateway'], input: Shared },
  'group.create': {
    from: ['gateway'],
    input: signed({ accountId: AccountId, name: Name, clientToken: Nullable(Text(64)) }),
  },
  'group.list': { from: ['gateway'], input: signed({ accountId: AccountId }) },
  'group.find': { from: ['gateway'], input: OfGroup },
  'group.of-volume': { from: ['gateway'], input: signed({ accountId: AccountId, volumeId: Id }) },
  'group.delete': { from: ['gateway'], input: OfGroup },
  'group.add': { from: ['gateway'], input: OfGroupGateway },
  'group.remove': { from: ['gateway'], input: OfGroupGateway },
  'group.assign': {
    from: ['gateway'],
    input: signed({ accountId: AccountId, group: Id, volumeId: Id, wish: Changes }),
  },
  'group.unassign': { from: ['gateway'], input: signed({ accountId: AccountId, group: Id, volumeId: Id }) },
  'group.announce': {
    from: ['gateway'],
    input: signed({
      address: Nullable(Type.Object({ peer: Text(300), nbd: Type.Array(Text(300), { maxItems: 32 }) })),
    }),
  },
  'group.mine': { from: ['gateway'], input: signed({}) },
  'group.permit': {
    from: ['gateway'],
    input: signed({ volumeId: Id, epoch: Type.Integer({ minimum: 0 }), reason: Text(REASON_LENGTH_MAX) }),
  },
  'key.create': { from: ['user'], input: Type.Object({ accountId: AccountId, userName: Name }) },
  'key.list': { from: ['user'], input: Type.Object({ accountId: Nullable(AccountId) }) },
  'key.revoke': { from: ['user'], input: Type.Object({ accessKeyId: Id }) },
  'alert.set': {
    from: ['user'],
    input: Type.Object({
      accountId: AccountId,
      name: Name,
      gatewayId: Nullable(Id),
      thresholds: Changes,
      webhookUrl: Text(WEBHOOK_LENGTH_MAX),
      repeatMs: Nullable(Type.Integer()),
      secret: Nullable(Text(256)),
    }),
  },
  'alert.list': { from: ['user'], input: Type.Object({ accountId: AccountId }) },
  'alert.remove': { from: ['user'], input: Type.Object({ accountId: AccountId, name: Name }) },
  'account.create': {
    from: ['user'],
    input: Type.Object({ name: Name, accountId: Nullable(Text(32)), clientToken: Nullable(Text(64)) }),
  },
  'account.list': { from: ['user'], input: Nothing },
  'account.quotas': { from: ['user'], input: Type.Object({ accountId: AccountId }) },
  'account.limit': {
    from: ['user'],
    input: Type.Object({
      accountId: AccountId,
      limits: Type.Partial(
        Type.Object(Object.fromEntries(LIMIT_NAMES.map((name) => [name, Limit])), { additionalProperties: false }),
        { additionalProperties: false },
      ),
    }),
  },
  'account.find': { from: ['user'], input: Type.Object({ accountId: Text(32) }) },
};

/** Undefined for what the network may not bring, and for what is no message. */
export const ruleOf = (name: string): MessageRule | undefined =>
  Object.hasOwn(RULES, name) ? RULES[name as MessageName] : undefined;
