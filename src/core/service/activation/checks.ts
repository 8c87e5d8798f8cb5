/** What a device may tell of itself, and what a customer may say of it. */
import { SgwError, problemOfName } from '../../kit/index.ts';
import type { MessageInput } from '../../protocol/index.ts';
import { badMessage } from './refusals.ts';

const METADATA_FIELDS_MAX = 16;
const METADATA_NAME_MAX = 64;
const METADATA_VALUE_MAX = 256;

/** @throws invalid `bad-message` */
export function checkMetadata(metadata: unknown): void {
  const fields = typeof metadata === 'object' && metadata !== null ? Object.entries(metadata) : undefined;
  const fits = ([name, value]: readonly [string, unknown]): boolean =>
    name.length <= METADATA_NAME_MAX && typeof value === 'string' && value.length <= METADATA_VALUE_MAX;
  if (fields === undefined || fields.length > METADATA_FIELDS_MAX || !fields.every(fits))
    throw badMessage('its metadata is more than 16 short texts');
}

/** @throws invalid `not-confirmed`, `bad-name`, `bad-message` */
export function checkClaim(input: MessageInput<'activation.claim'>): void {
  if (!input.confirm) {
    throw new SgwError('invalid', 'not-confirmed', 'what the gateway tells of itself was not confirmed', {
      hint: 'Compare it with the device, and confirm.',
    });
  }
  const problem = problemOfName(input.gatewayName);
  if (problem !== undefined) throw new SgwError('invalid', 'bad-name', `the name for a gateway ${problem}`);
  if (input.gatewayId !== null && !/^sgw-[0-9a-f]{8}$/.test(input.gatewayId))
    throw badMessage('its gateway id is none');
}
