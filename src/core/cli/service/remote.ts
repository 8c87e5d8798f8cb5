/** A gateway elsewhere, through the service that it was activated at: what the home's own gateway is otherwise. */
import type { OpenGateway } from '../../client/index.ts';
import { quoted, SgwError } from '../../kit/index.ts';
import type { ServiceClient } from '../../serviceclient/index.ts';
import type { GlobalFlags } from '../flags.ts';
import { connectService, type ServiceSurroundings } from './connection.ts';

const GATEWAY_ID = /^sgw-[0-9a-f]{8}$/;

/** Opens `gateway`, an id or a name. Nothing is asked before the first call. */
export function remoteGateway(gateway: string, flags: GlobalFlags, surroundings: ServiceSurroundings): OpenGateway {
  return async (_options, signal = surroundings.signal) => {
    const { RemoteGateway } = await import('../../serviceclient/index.ts');
    const client = await connectService(flags, surroundings);
    try {
      return new RemoteGateway(client, await idOf(client, gateway, flags.account, signal));
    } catch (error) {
      await client.close();
      throw error;
    }
  };
}

/** @throws notFound `gateway-not-found`; invalid `gateway-ambiguous` */
async function idOf(
  client: ServiceClient,
  gateway: string,
  account: string | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (GATEWAY_ID.test(gateway)) return gateway;
  const accountId = account ?? (await client.request('user.describe', {}, { signal })).accountId;
  const { gateways } = await client.request('gateway.list', { accountId }, { signal });
  const [found, ...others] = gateways.filter(({ gatewayName, state }) => gatewayName === gateway && state === 'active');
  if (found === undefined) {
    throw new SgwError('notFound', 'gateway-not-found', `gateway ${quoted(gateway)} does not exist`, {
      hint: '`sgw service gateway list` shows those that there are.',
    });
  }
  if (others.length === 0) return found.gatewayId;
  throw new SgwError(
    'invalid',
    'gateway-ambiguous',
    `${String(others.length + 1)} gateways are named ${quoted(gateway)}`,
    {
      hint: 'Give the id of the one that is meant.',
      details: { gatewayIds: [found, ...others].map(({ gatewayId }) => gatewayId) },
    },
  );
}
