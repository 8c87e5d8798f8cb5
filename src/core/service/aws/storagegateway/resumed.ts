/** A gateway that the API has shut down, and that somebody has serve again by other means: from then on the API wants that too. */
import { changeDocument, readDocument } from '../../../blockstore/index.ts';
import type { ServiceContext } from '../../context.ts';
import { serviceKeys } from '../../keys.ts';
import type { GatewaySettings } from './records.ts';

/** To be called before the gateway is told: else the API would shut it down again. Durable when it resolves. */
export async function noteResumed(
  { blocks }: ServiceContext,
  { accountId, gatewayId }: { readonly accountId: string; readonly gatewayId: string },
  signal: AbortSignal,
): Promise<void> {
  const key = serviceKeys.apiGateway(accountId, gatewayId);
  if ((await readDocument<GatewaySettings>(blocks, key, signal))?.value.wanted !== 'shutdown') return;
  await changeDocument<GatewaySettings>(blocks, key, (now) => ({ ...now, wanted: 'running' }), signal);
}
