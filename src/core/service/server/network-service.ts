/**
 * The service as a server on the network has it: its identity opened, or made by whichever server is the first.
 *
 * What is made is made once, by create-if-absent, in this order: the CA, the root account, the root account's access key. A
 * death between the last two leaves a service without an access key, which `newRootKey` mends.
 */
import type { AccessKeyRecord } from '../../protocol/index.ts';
import { servicePartsOf, type ServiceParts } from '../answers.ts';
import { Alerts } from '../alerts/alerts.ts';
import type { ServiceContext } from '../context.ts';
import { AccessKeys } from '../identity/access-keys.ts';
import { CertificateAuthority } from '../identity/certificates.ts';
import { GatewayPrincipals } from '../identity/gateway-principals.ts';
import { RootAccount } from '../identity/root-account.ts';
import type { ServiceKey } from '../identity/service-key.ts';
import { SigV4Authenticator } from '../identity/sigv4.ts';

const ROOT_USER = 'root';

export interface NetworkService extends ServiceParts {
  readonly keys: AccessKeys;
  readonly authority: CertificateAuthority;
  readonly alerts: Alerts;
  readonly principals: GatewayPrincipals;
  readonly authenticator: SigV4Authenticator;
  readonly rootAccountId: string;
  /** Where this call made one: the secret is told here and never again. */
  readonly rootKey: (AccessKeyRecord & { readonly secretAccessKey: string }) | null;
  /** Whether the root account has a key that is good. */
  readonly hasRootKey: boolean;
}

/**
 * Durable when it resolves.
 * @throws denied `service-key-wrong` when the store's secrets are sealed by another service key
 */
export async function openNetworkService(
  context: ServiceContext,
  serviceKey: ServiceKey,
  { newRootKey, alertAllowPrivate = false }: { readonly newRootKey: boolean; readonly alertAllowPrivate?: boolean },
  signal: AbortSignal,
): Promise<NetworkService> {
  const parts = servicePartsOf(context);
  const authority = await CertificateAuthority.open(context, serviceKey, signal);
  const root = new RootAccount(context, parts.accounts);
  const keys = new AccessKeys(context, serviceKey, root, parts.quotas);
  const { accountId, isNew } = await root.begin(signal);
  const wish = { accountId, userName: ROOT_USER };
  const rootKey = isNew || newRootKey ? await keys.create(wish, signal) : null;
  const hasRootKey =
    rootKey !== null || (await keys.list(accountId, signal)).some(({ revokedAt }) => revokedAt === null);
  return {
    ...parts,
    ...{ keys, authority, rootKey, hasRootKey },
    alerts: new Alerts({
      ...{ context, gateways: parts.gateways, sealing: serviceKey },
      allowPrivate: alertAllowPrivate,
    }),
    rootAccountId: accountId,
    principals: new GatewayPrincipals(context, parts.gateways),
    authenticator: new SigV4Authenticator(context, keys),
  };
}
