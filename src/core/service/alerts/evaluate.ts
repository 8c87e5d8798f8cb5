/**
 * What fires, what has ended, and what is to be told of it. Without I/O.
 *
 *   (nothing) --passed--> firing --no longer passed--> resolved --told--> (nothing)
 *
 * Invariants: one message for each time that a threshold is passed and one for each end, but for repeats; a message is in
 * the state before it is sent, and leaves it only when the webhook took it, or after its last try. What is not known changes
 * nothing. A threshold that is no longer asked for goes without a word.
 */
import type { AlertThresholds, ThresholdName } from '../../protocol/index.ts';
import type { Measurements } from './measure.ts';
import type { FiringState, PendingMessage, StoredAlert } from './records.ts';

/** The last tries are hours apart; together they last most of a day. */
export const ATTEMPTS_MAX = 24;
const BACKOFF_MS_MIN = 30_000;
const BACKOFF_MS_MAX = 60 * 60 * 1000;

export interface AlertSight {
  readonly alert: StoredAlert;
  readonly measurements: Measurements;
}

export interface EvaluationParts {
  readonly nowMs: number;
  /** A name for a new message. */
  readonly newMessageId: () => string;
}

const time = (ms: number): string => new Date(ms).toISOString();

/** The firing states after this look at a gateway. */
export function evaluate(
  before: readonly FiringState[],
  sights: readonly AlertSight[],
  parts: EvaluationParts,
): FiringState[] {
  return sights.flatMap(({ alert, measurements }) =>
    thresholdsOf(alert.thresholds).flatMap((threshold): FiringState[] => {
      const present = before.find((each) => each.alertId === alert.alertId && each.threshold === threshold);
      const next = advance(present, { alert, threshold, measured: measurements[threshold] }, parts);
      return next === undefined ? [] : [next];
    }),
  );
}

const thresholdsOf = (thresholds: AlertThresholds): ThresholdName[] => Object.keys(thresholds) as ThresholdName[];

interface Case {
  readonly alert: StoredAlert;
  readonly threshold: ThresholdName;
  readonly measured: Measurements[ThresholdName];
}

function advance(
  present: FiringState | undefined,
  { alert, threshold, measured }: Case,
  parts: EvaluationParts,
): FiringState | undefined {
  if (measured === undefined) return present;
  const { isPassed, value, subjects } = measured;
  if (isPassed) {
    // One that ended, and was not told to, goes on: the receiver has heard of one beginning.
    if (present === undefined || (present.state === 'resolved' && present.message === null))
      return {
        ...{ alertId: alert.alertId, threshold, state: 'firing', since: time(parts.nowMs), value, subjects },
        ...{ message: newMessage('firing', parts), deliveredAt: null, failure: null },
      };
    if (present.state === 'resolved') return begunAgain(present, { value, subjects }, parts);
    return repeated({ ...present, value, subjects }, alert, parts);
  }
  if (present === undefined) return undefined;
  if (present.state === 'firing')
    return {
      ...present,
      state: 'resolved',
      value,
      subjects: [],
      message: newMessage('resolved', parts),
      failure: null,
    };
  return present.message === null ? undefined : present;
}

/** The end was not told yet: where the beginning was, neither needs to be told again. */
function begunAgain(
  present: FiringState,
  seen: Pick<FiringState, 'value' | 'subjects'>,
  parts: EvaluationParts,
): FiringState {
  const wasTried = (present.message?.attempts ?? 0) > 0;
  const isKnown = present.deliveredAt !== null && !wasTried;
  return { ...present, ...seen, state: 'firing', message: isKnown ? null : newMessage('firing', parts), failure: null };
}

function repeated(present: FiringState, { repeatMs }: StoredAlert, parts: EvaluationParts): FiringState {
  if (repeatMs === null || present.message !== null) return present;
  const toldMs = Date.parse(present.deliveredAt ?? present.since);
  return parts.nowMs - toldMs >= repeatMs ? { ...present, message: newMessage('firing', parts) } : present;
}

function newMessage(kind: PendingMessage['kind'], { nowMs, newMessageId }: EvaluationParts): PendingMessage {
  return { messageId: newMessageId(), kind, at: time(nowMs), attempts: 0, nextAttemptAt: time(nowMs) };
}

export const isDue = ({ message }: FiringState, nowMs: number): boolean =>
  message !== null && Date.parse(message.nextAttemptAt) <= nowMs;

/** Before a message is sent. @param jitter 0 to 1 */
export function attempted(state: FiringState, nowMs: number, jitter: number): FiringState {
  const { message } = state;
  if (message === null) return state;
  const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** message.attempts);
  const nextAttemptAt = time(nowMs + backoffMs * (0.75 + jitter / 2));
  return { ...state, message: { ...message, attempts: message.attempts + 1, nextAttemptAt } };
}

/** After it was sent: undefined when nothing is left to tell. @param failure null when the webhook took it */
export function sent(
  state: FiringState,
  messageId: string,
  nowMs: number,
  failure: string | null,
): FiringState | undefined {
  const { message } = state;
  // Another message took its place meanwhile.
  if (message?.messageId !== messageId)
    return failure === null && state.state === 'firing' ? { ...state, deliveredAt: time(nowMs) } : state;
  if (failure === null)
    return message.kind === 'resolved'
      ? undefined
      : { ...state, message: null, deliveredAt: time(nowMs), failure: null };
  if (message.attempts < ATTEMPTS_MAX) return { ...state, failure };
  return message.kind === 'resolved' ? undefined : { ...state, message: null, failure };
}
