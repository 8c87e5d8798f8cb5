/**
 * What a gateway that was activated over the network knows of its configuration at the service, beside the settings
 * themselves: which version is in force, and what its operator asked for.
 */
import { findBad, isObject, isText, isTime, orNull, type Check, type Checks } from './serving.ts';

export interface ProvidedState {
  /** Of the service's document; 0 before the first. */
  version: number;
  /** What the operator asked for and nobody has answered, as far as is known here. */
  request: ProvidedRequest | null;
  /** To the newest request that was answered. */
  answer: ProvidedAnswer | null;
}

export interface ProvidedRequest {
  requestId: string;
  /** RFC 3339, UTC. */
  requestedAt: string;
  /** By the names of `sgw configure`. */
  settings: Record<string, string | number | boolean | null>;
}

interface ProvidedAnswer {
  requestId: string;
  accepted: boolean;
  /** RFC 3339, UTC. */
  answeredAt: string;
  reason: string | null;
}

const isFlag: Check = (value) => typeof value === 'boolean';
const isSetting: Check = (value) => value === null || ['string', 'number', 'boolean'].includes(typeof value);
const areSettings: Check = (value) => isObject(value) && Object.values(value).every(isSetting);

const REQUEST_FIELDS: Checks<ProvidedRequest> = { requestId: isText, requestedAt: isTime, settings: areSettings };
const ANSWER_FIELDS: Checks<ProvidedAnswer> = {
  requestId: isText,
  accepted: isFlag,
  answeredAt: isTime,
  reason: (value) => value === null || typeof value === 'string',
};

const PROVIDED_FIELDS: Checks<ProvidedState> = {
  version: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  request: orNull((value) => findBad(value, REQUEST_FIELDS) === undefined),
  answer: orNull((value) => findBad(value, ANSWER_FIELDS) === undefined),
};

export const isProvided: Check = (value) => findBad(value, PROVIDED_FIELDS) === undefined;
