/** The schedules in `state.json`: what was set, and how far each has come. */
import type { SgwError } from '../../kit/index.ts';
import type { CallContext } from '../../localapi/index.ts';
import {
  openState,
  updateState,
  type GatewayState,
  type ScheduleFailure,
  type ScheduleState,
} from '../../state/index.ts';
import { notActivated } from '../session.ts';

type Call = Pick<CallContext, 'signal' | 'lockTimeoutMs'>;
export type Schedules = Readonly<Record<string, ScheduleState>>;

/** By volume id. @throws conflict `not-activated` */
export async function readSchedules(home: string): Promise<Schedules> {
  const { gateway } = await openState(home);
  if (gateway === null) throw notActivated(home);
  return gateway.schedules ?? {};
}

/**
 * Changes the schedule of a volume; undefined is none. Durable when it resolves. Returns the new one.
 * @throws conflict `not-activated`
 */
export async function changeSchedule(
  home: string,
  volumeId: string,
  change: (now: ScheduleState | undefined, gateway: GatewayState) => ScheduleState | undefined,
  { signal, lockTimeoutMs }: Call,
): Promise<ScheduleState | undefined> {
  return await updateState(
    home,
    ({ gateway }) => {
      if (gateway === null) throw notActivated(home);
      const { [volumeId]: now, ...others } = gateway.schedules ?? {};
      const after = change(now, gateway);
      const schedules = after === undefined ? others : { ...others, [volumeId]: after };
      if (Object.keys(schedules).length === 0) delete gateway.schedules;
      else gateway.schedules = schedules;
      return after;
    },
    { lockTimeoutMs, signal },
  );
}

/** As `changeSchedule`, as long as it is that schedule: another may have taken its place. */
export async function noteSchedule(
  home: string,
  volumeId: string,
  scheduleId: string,
  change: (now: ScheduleState) => ScheduleState,
  call: Call,
): Promise<void> {
  await changeSchedule(home, volumeId, (now) => (now?.scheduleId === scheduleId ? change(now) : now), call);
}

/** What is noted of a failure: of a row of the same, the first. */
export const failureToNote = (
  noted: ScheduleFailure | null,
  { code, message }: SgwError,
  nowMs: number,
): ScheduleFailure => (noted?.code === code ? noted : { at: new Date(nowMs).toISOString(), code, message });
