/**
 * The messages: name, input, result. Times are RFC 3339 in UTC, binary values base64url. The same whether they go over the
 * network or stay in memory.
 *
 * Activation (mechanisms, S5): `register` -> `prove` -> (the key is shown) -> `describe`, `claim` by the customer ->
 * `collect` -> `credential` -> `configuration`.
 */
import type { VolumeId } from '../kit/index.ts';
import type { AlertRecord, AlertWish } from './alerts.ts';
import type { AccountLimits, AccountUsage, LimitName } from './quotas.ts';
import type {
  ConfigurationChanges,
  ConfigurationEffect,
  ConfigurationRequest,
  ConfigurationStanding,
  GatewayConfiguration,
  ProvidedServing,
} from './configuration.ts';
import type { GroupDocument, GroupVolumeWish, MemberAddress } from './groups.ts';

/** What a device tells of itself before anybody trusts it; at most 16 short texts. */
export type ActivationMetadata = Readonly<Record<string, string>>;

/** What the customer said when claiming a gateway. */
export interface CustomerInformation {
  readonly gatewayId: string;
  readonly gatewayName: string;
  /** 12 digits. */
  readonly accountId: string;
  readonly mode: 'cached' | 'shadowing';
  readonly region: string;
}

/** What later requests name; of no use without the private key that it is bound to. */
export interface Credential {
  readonly credentialId: string;
  readonly gatewayId: string;
  readonly accountId: string;
  readonly keyFingerprint: string;
  readonly issuedAt: string;
}

export interface AccountRecord {
  readonly accountId: string;
  readonly name: string;
  readonly createdAt: string;
}

/** What an account may have, and what it has. */
export interface AccountQuotas extends AccountRecord {
  readonly limits: AccountLimits;
  readonly usage: AccountUsage;
}

/** An access key as everybody may know it who may know of it; its secret is told once, when it is made. */
export interface AccessKeyRecord {
  /** `AKIA` and 16 of `A-Z2-7`. */
  readonly accessKeyId: string;
  readonly accountId: string;
  readonly userName: string;
  readonly createdAt: string;
  /** Null while the key is good. */
  readonly revokedAt: string | null;
}

/** A gateway as the service knows it. */
export interface GatewaySummary extends CustomerInformation {
  readonly state: 'active' | 'deregistered';
  readonly keyFingerprint: string;
  readonly registeredAt: string;
  readonly deregisteredAt: string | null;
  readonly configurationVersion: number;
}

/** `by` lets `accountId` use the blocks that `by` wrote in a snapshot; the owner's grant also lets it see the snapshot. */
export interface Grant {
  readonly accountId: string;
  readonly by: string;
  readonly grantedAt: string;
}

/** A message that its sender vouches for. The signature covers all of it, its name, and the service it is meant for. */
export interface Signed<T> {
  readonly body: T;
  /** An activation id before the credential, a gateway id with it. */
  readonly signer: string;
  readonly credentialId: string | null;
  readonly timestamp: string;
  /** Never used twice. */
  readonly nonce: string;
  readonly signature: string;
}

/** The account that the gateway acts for. */
interface Acting {
  readonly accountId: string;
}

interface GroupGateway extends Acting {
  readonly group: string;
  readonly gateway: string;
}

interface GroupChange {
  readonly group: GroupDocument;
  /** False when it was so already. */
  readonly changed: boolean;
}

type Nothing = Readonly<Record<string, never>>;

export interface Messages {
  /** Says who the device is; again as often as needed until it is claimed. */
  'activation.register': {
    input: { readonly publicKey: string; readonly metadata: ActivationMetadata };
    result: { readonly activationId: string; readonly challenge: string };
  };
  /** Proves that the device holds the private key. The key is single-use; one that was given before is void. */
  'activation.prove': {
    input: Signed<{ readonly challenge: string; readonly metadata: ActivationMetadata }>;
    result: { readonly activationKey: string; readonly expiresAt: string };
  };
  /** What the service knows of the device, for the customer to compare before confirming. */
  'activation.describe': {
    input: { readonly activationKey: string };
    result: { readonly metadata: ActivationMetadata; readonly keyFingerprint: string; readonly expiresAt: string };
  };
  /** The customer takes the device. `gatewayId` only for a gateway that had an identity before there was a service. */
  'activation.claim': {
    input: Omit<CustomerInformation, 'gatewayId'> & {
      readonly activationKey: string;
      readonly gatewayId: string | null;
      readonly confirm: boolean;
    };
    result: { readonly gatewayId: string };
  };
  'activation.collect': {
    input: Signed<Nothing>;
    result:
      { readonly state: 'waiting'; readonly expiresAt: string } | ({ readonly state: 'claimed' } & CustomerInformation);
  };
  /** The key once more, and the customer's words, bind the credential to what was claimed. Repeated, the same answer. */
  'activation.credential': {
    input: Signed<{ readonly activationKey: string; readonly gatewayId: string; readonly accountId: string }>;
    result: Credential;
  };
  /** The device gives up: nothing of this activation can be used from now on. */
  'activation.withdraw': { input: Signed<Nothing>; result: Nothing };

  'gateway.configuration': { input: Signed<Nothing>; result: GatewayConfiguration };
  /**
   * A client certificate for the gateway's own key, which the request for it (PKCS #10, PEM) must be of and be signed by.
   * Asked for again before it ends; each answer is another certificate.
   */
  'gateway.certificate': {
    input: Signed<{ readonly csr: string }>;
    result: {
      /** PEM. */
      readonly certificate: string;
      /** Of the service's CA, PEM: what signed it, and what the service's own certificates are signed by. */
      readonly caCertificate: string;
      readonly issuedAt: string;
      readonly expiresAt: string;
    };
  };
  /** The gateway leaves; its credential is void. */
  'gateway.deregister': { input: Signed<Nothing>; result: Nothing };
  /** The operator at the gateway wants what the provider owns otherwise. Repeated while it is pending, the same request. */
  'gateway.request-configuration': {
    input: Signed<{ readonly changes: ConfigurationChanges }>;
    result: ConfigurationRequest;
  };

  /** May the snapshot's data leave: into a file, or into a clone of another's snapshot? Refused with `export-denied`. */
  'export.decide': {
    input: Signed<Acting & { readonly snapshotId: string; readonly purpose: 'export' | 'clone' }>;
    /** `binding` is false where the caller can reach the data without asking. */
    result: { readonly binding: boolean };
  };
  /** Which of these may be exported. */
  'export.list': {
    input: Signed<Acting & { readonly snapshotIds: readonly string[] }>;
    result: { readonly exportable: readonly string[] };
  };
  /** What a decision would be. Nothing leaves, so nothing is recorded. */
  'export.assess': {
    input: Signed<Acting & { readonly snapshotId: string }>;
    /** With what the account may know of who shares it with whom. */
    result: { readonly exportable: boolean; readonly grants: readonly Grant[] };
  };
  'snapshot.share': {
    input: Signed<Acting & { readonly snapshotId: string; readonly withAccountId: string }>;
    result: { readonly name: string; readonly grants: readonly Grant[]; readonly changed: boolean };
  };
  'snapshot.unshare': {
    input: Signed<Acting & { readonly snapshotId: string; readonly withAccountId: string }>;
    result: { readonly name: string; readonly grants: readonly Grant[]; readonly changed: boolean };
  };

  /**
   * What a decision on an export would be, refused as that would be: for who reads a store without a gateway. Nothing is
   * recorded, since the store may take no writes of his, and he has it anyway.
   */
  'export.judge': {
    input: Acting & { readonly snapshotId: string };
    result: { readonly binding: boolean };
  };
  /** The same of several, without a refusal. */
  'export.survey': {
    input: Acting & { readonly snapshotIds: readonly string[] };
    result: {
      readonly rights: readonly {
        readonly snapshotId: string;
        readonly exportable: boolean;
        readonly grants: readonly Grant[];
      }[];
    };
  };

  /** The operator takes a gateway away that can not sign any more. */
  'gateway.remove': { input: { readonly gatewayId: string }; result: Nothing };
  /** Gateways of an account, in the order of their ids; null: of all accounts. */
  'gateway.list': {
    input: { readonly accountId: string | null };
    result: { readonly gateways: readonly GatewaySummary[] };
  };
  'gateway.find': { input: { readonly gatewayId: string }; result: GatewaySummary };
  /** What is null stays. A change makes the next version of the configuration, which the gateway takes when it hears of it. */
  'gateway.configure': {
    input: {
      readonly gatewayId: string;
      readonly gatewayName: string | null;
      readonly region: string | null;
      readonly serving?: Partial<ProvidedServing>;
      /** To what its operator asks for; `requestId` null: whichever it is. */
      readonly answer?: {
        readonly requestId: string | null;
        readonly accept: boolean;
        readonly reason: string | null;
      } | null;
      /** Only while that is the newest version. */
      readonly expectedVersion?: number | null;
    };
    result: GatewaySummary & ConfigurationEffect;
  };

  /**
   * Makes a group; with a client token that was used already, the one that it made. `group` is an id or a name wherever it
   * stands below, and `gateway` as well.
   */
  'group.create': {
    input: Signed<Acting & { readonly name: string; readonly clientToken: string | null }>;
    result: { readonly group: GroupDocument; readonly created: boolean };
  };
  /** Groups of an account, in the order of their names. */
  'group.list': { input: Signed<Acting>; result: { readonly groups: readonly GroupDocument[] } };
  'group.find': { input: Signed<Acting & { readonly group: string }>; result: GroupDocument };
  /** The group that looks after a volume. */
  'group.of-volume': {
    input: Signed<Acting & { readonly volumeId: VolumeId }>;
    result: { readonly group: GroupDocument | null };
  };
  /** Only one that looks after no volume. */
  'group.delete': { input: Signed<Acting & { readonly group: string }>; result: { readonly group: GroupDocument } };
  'group.add': { input: Signed<GroupGateway>; result: GroupChange };
  'group.remove': { input: Signed<GroupGateway>; result: GroupChange };
  /** Has the group look after a volume, or changes how. */
  'group.assign': {
    input: Signed<Acting & { readonly group: string; readonly volumeId: VolumeId; readonly wish: GroupVolumeWish }>;
    result: GroupChange;
  };
  'group.unassign': {
    input: Signed<Acting & { readonly group: string; readonly volumeId: VolumeId }>;
    result: GroupChange;
  };
  /** Where the gateway is reached as a member of its group; null: nowhere. */
  'group.announce': {
    input: Signed<{ readonly address: MemberAddress | null }>;
    result: { readonly group: GroupDocument | null };
  };
  /** The group that the gateway itself is in. */
  'group.mine': { input: Signed<Nothing>; result: { readonly group: GroupDocument | null } };
  /**
   * A member wants to take a volume of its group over. Refused with `holder-alive` while the holder is connected to the
   * service and says that it holds the volume; otherwise recorded.
   */
  'group.permit': {
    input: Signed<{ readonly volumeId: VolumeId; readonly epoch: number; readonly reason: string }>;
    result: Nothing;
  };

  /** What whoever comes over the network must know of the service. */
  'service.describe': {
    input: Nothing;
    result: {
      /** Requests are signed for it. */
      readonly serviceId: string;
      readonly region: string;
      /** `HOST:PORT` that gateways connect to, with their certificates. */
      readonly gatewayAddress: string;
      /** SHA-256 of the CA's certificate in DER, hex. */
      readonly caFingerprint: string;
    };
  };

  /** Who the access key is of that this was signed with. */
  'user.describe': {
    input: Nothing;
    result: { readonly accountId: string; readonly accessKeyId: string; readonly isRoot: boolean };
  };

  /** An access key for a user of an account. The secret is in this answer and nowhere else. */
  'key.create': {
    input: { readonly accountId: string; readonly userName: string };
    result: AccessKeyRecord & { readonly secretAccessKey: string };
  };
  /** Oldest first, revoked ones too; null: of all accounts. */
  'key.list': { input: { readonly accountId: string | null }; result: { readonly keys: readonly AccessKeyRecord[] } };
  /** For good; a key that is revoked already stays so. */
  'key.revoke': { input: { readonly accessKeyId: string }; result: AccessKeyRecord & { readonly changed: boolean } };

  'account.create': {
    input: { readonly name: string; readonly accountId: string | null; readonly clientToken: string | null };
    result: AccountRecord & { readonly created: boolean };
  };
  'account.list': { input: Nothing; result: { readonly accounts: readonly AccountRecord[] } };
  /** Limits and what there is, of an account. */
  'account.quotas': { input: { readonly accountId: string }; result: AccountQuotas };
  /** Limits that are named are changed; null: none. */
  'account.limit': {
    input: { readonly accountId: string; readonly limits: Partial<AccountLimits> };
    result: AccountQuotas & { readonly changed: readonly LimitName[] };
  };
  'account.find': { input: { readonly accountId: string }; result: AccountRecord };
  /** The account that a gateway is activated for: made where it is the default one, or the store's first. */
  'account.begin': {
    input: { readonly accountId: string; readonly isKnown: boolean };
    result: AccountRecord;
  };

  /** What is wanted of a gateway, what is in force there, and what its operator asks for. */
  'gateway.settings': { input: { readonly gatewayId: string }; result: ConfigurationStanding };

  /** Makes an alert of an account, or changes the one of that name. */
  'alert.set': {
    input: AlertWish & { readonly accountId: string };
    /** The secret that signs deliveries, where this call made it; it is told nowhere else. */
    result: AlertRecord & { readonly created: boolean; readonly secret: string | null };
  };
  /** In the order of their names. */
  'alert.list': { input: { readonly accountId: string }; result: { readonly alerts: readonly AlertRecord[] } };
  /** Nothing is told any more, also not that what fires has ended. */
  'alert.remove': {
    input: { readonly accountId: string; readonly name: string };
    result: { readonly removed: boolean };
  };
}

export type MessageName = keyof Messages;
export type MessageInput<N extends MessageName> = Messages[N]['input'];
export type MessageResult<N extends MessageName> = Messages[N]['result'];
/** Messages that a gateway signs. */
export type SignedMessageName = {
  [N in MessageName]: MessageInput<N> extends Signed<unknown> ? N : never;
}[MessageName];
export type SignedBody<N extends SignedMessageName> = MessageInput<N> extends Signed<infer B> ? B : never;
