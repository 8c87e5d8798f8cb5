/**
 * Task management (RFC 7143, 4.2.3.3 and 11.5): the response comes when the commands that are meant have ended, and they get none.
 * Functions that mean many commands wait for all those that were sent before.
 */
import type { LogicalUnit, Nexus } from './scsi/index.ts';
import type { Session } from './session.ts';
import type { Task } from './task.ts';
import { AT, isBefore, TASK_FUNCTION, TASK_RESPONSE } from './wire.ts';

export interface TaskRequest {
  readonly function: number;
  readonly lun: Buffer;
  readonly itt: number;
  readonly cmdSn: number;
  readonly referencedTag: number;
  readonly refCmdSn: number;
}

export const parseTaskRequest = (header: Buffer): TaskRequest => ({
  function: (header[AT.flags] ?? 0) & 0x7f,
  lun: Buffer.from(header.subarray(AT.lun, AT.lun + 8)),
  itt: header.readUInt32BE(AT.initiatorTaskTag),
  cmdSn: header.readUInt32BE(AT.cmdSn),
  referencedTag: header.readUInt32BE(20),
  refCmdSn: header.readUInt32BE(32),
});

/** The sessions that use one target. */
export interface TargetTasks {
  readonly unit: Pick<LogicalUnit, 'hasUnit' | 'reset' | 'commandsCleared'>;
  readonly sessions: Iterable<TargetSession>;
  /** Ends all of them. */
  endSessions(): void;
}

export interface TargetSession {
  readonly session: Session;
  readonly nexus: Nexus;
}

/** Does what a request asks for. Resolves with the response (11.6.1). */
export async function manageTasks(session: Session, target: TargetTasks, request: TaskRequest): Promise<number> {
  switch (request.function) {
    case TASK_FUNCTION.abortTask:
      return await abortTask(session, request);
    case TASK_FUNCTION.abortTaskSet:
    case TASK_FUNCTION.clearTaskSet:
    case TASK_FUNCTION.logicalUnitReset:
      if (!target.unit.hasUnit(request.lun)) return TASK_RESPONSE.noLun;
      return await abortMany(session, target, request);
    case TASK_FUNCTION.targetWarmReset:
    case TASK_FUNCTION.targetColdReset:
      return await abortMany(session, target, request);
    case TASK_FUNCTION.taskReassign:
      return TASK_RESPONSE.noReassignment;
    default:
      return TASK_RESPONSE.notSupported;
  }
}

/** 11.5.5: a command that has not come is taken as if it had, so that it is ignored when it comes. */
async function abortTask(session: Session, request: TaskRequest): Promise<number> {
  const { tasks } = session;
  const task = tasks?.find(request.referencedTag);
  if (tasks !== undefined && task !== undefined) {
    await tasks.abort([task]);
    return TASK_RESPONSE.complete;
  }
  const isToCome = isBefore(request.refCmdSn, request.cmdSn) && session.inOrder(request.refCmdSn, () => undefined);
  return isToCome ? TASK_RESPONSE.complete : TASK_RESPONSE.noTask;
}

async function abortMany(session: Session, target: TargetTasks, request: TaskRequest): Promise<number> {
  await new Promise<void>((resolve) => {
    session.whenReached(request.cmdSn, resolve);
  });
  const isEarlier = (task: Task): boolean => task.isImmediate || isBefore(task.cmdSn, request.cmdSn);
  const ends = [abortOf(session, isEarlier)];
  const isOwn = request.function === TASK_FUNCTION.abortTaskSet;
  if (!isOwn) {
    for (const other of target.sessions) {
      if (other.session === session) continue;
      const isHit = (other.session.tasks?.size ?? 0) > 0;
      ends.push(abortOf(other.session, () => true));
      if (isHit && request.function === TASK_FUNCTION.clearTaskSet) target.unit.commandsCleared(other.nexus);
    }
  }
  await Promise.all(ends);
  if (!isOwn && request.function !== TASK_FUNCTION.clearTaskSet) target.unit.reset();
  return TASK_RESPONSE.complete;
}

async function abortOf(session: Session, filter: (task: Task) => boolean): Promise<void> {
  const { tasks } = session;
  const hit = tasks?.which(filter) ?? [];
  await tasks?.abort(hit);
  if (hit.length > 0) session.tellWindow();
}
