/**
 * What an initiator asks for in the full feature phase of a connection beside commands: pings, text, task management, logout (RFC
 * 7143, 11.5, 11.10, 11.14, 11.18). Invariants: a request that is not immediate is handled in the order of CmdSN; one text exchange at a
 * time; task management that waits for commands to end is bounded.
 */
import type { TextExchange, TextStep } from './discovery.ts';
import type { SessionLimits } from './limits.ts';
import { isImmediate } from './pdu.ts';
import type { Responses } from './responses.ts';
import type { Session, SessionConnection } from './session.ts';
import { manageTasks, parseTaskRequest, type TargetTasks, type TaskRequest } from './task-management.ts';
import {
  AT,
  FINAL,
  LOGOUT_REASON,
  LOGOUT_RESPONSE,
  NO_TAG,
  REJECT,
  REQUEST,
  TASK_FUNCTION,
  TASK_RESPONSE,
} from './wire.ts';

export interface RequestParts {
  readonly session: Session;
  /** Undefined in a discovery session. */
  readonly target: TargetTasks | undefined;
  readonly connection: SessionConnection;
  readonly text: TextExchange;
  readonly limits: SessionLimits;
  /** It logs out: no more requests are taken. */
  readonly onLeaving: () => void;
  /** It does not keep to the protocol. */
  readonly onFault: (reason: string) => void;
}

/** Requests whose F bit is one: 11.5, 11.14, 11.18. */
const ALWAYS_FINAL: ReadonlySet<number> = new Set([REQUEST.nopOut, REQUEST.taskManagement, REQUEST.logout]);

export class Requests {
  readonly #parts: RequestParts;
  readonly #responses: Responses;
  #isTexting = false;
  #managing = 0;

  constructor(parts: RequestParts) {
    this.#parts = parts;
    this.#responses = parts.connection.responses;
  }

  /** Handles one; its header and data are good until this returns. */
  handle(opcode: number, lentHeader: Buffer, data: Buffer): void {
    const header = Buffer.from(lentHeader);
    if (ALWAYS_FINAL.has(opcode) && ((header[AT.flags] ?? 0) & FINAL) === 0) {
      this.#inTurn(header, () => {
        this.#responses.reject(REJECT.protocolError, header);
      });
      return;
    }
    switch (opcode) {
      case REQUEST.nopOut:
        this.#nop(header, data);
        return;
      case REQUEST.taskManagement:
        this.#inTurn(header, () => {
          this.#manage(header);
        });
        return;
      case REQUEST.text:
        this.#inTurn(header, () => {
          this.#text(header, data);
        });
        return;
      case REQUEST.logout:
        this.#inTurn(header, () => {
          this.#logout(header);
        });
        return;
      case REQUEST.snack:
        this.#responses.reject(REJECT.snack, header);
        return;
      case REQUEST.login:
        this.#responses.reject(REJECT.protocolError, header);
        this.#responses.flush();
        this.#parts.onFault('a login request in full feature phase');
        return;
      default:
        this.#responses.reject(REJECT.commandNotSupported, header);
    }
  }

  /** Now, where the request is immediate; else in the order of CmdSN. */
  #inTurn(header: Buffer, handle: () => void): void {
    if (isImmediate(header)) {
      handle();
      return;
    }
    this.#parts.session.inOrder(header.readUInt32BE(AT.cmdSn), () => {
      handle();
      this.#responses.schedule();
    });
  }

  /** 11.18: a ping, or the answer to one of ours, for which it is enough that it came. */
  #nop(header: Buffer, data: Buffer): void {
    const itt = header.readUInt32BE(AT.initiatorTaskTag);
    this.#inTurn(header, () => {
      if (itt === NO_TAG) return;
      const echo = data.subarray(0, this.#parts.connection.segmentMax);
      this.#responses.pong(itt, header.subarray(AT.lun, AT.lun + 8), echo);
    });
  }

  /** 11.10 */
  #text(header: Buffer, data: Buffer): void {
    if (this.#isTexting) {
      this.#responses.reject(REJECT.longOperation, header);
      return;
    }
    this.#isTexting = true;
    this.#parts.text
      .handle(header, data)
      .then(
        (step) => {
          this.#answerText(header, step);
        },
        () => {
          this.#responses.reject(REJECT.longOperation, header);
        },
      )
      .finally(() => {
        this.#isTexting = false;
        this.#responses.schedule();
      });
  }

  #answerText(header: Buffer, step: TextStep): void {
    if (step.kind === 'reject') {
      this.#responses.reject(step.reason, header);
      return;
    }
    const { targetTransferTag, flags, data, maxSendLength } = step;
    this.#responses.text(header.readUInt32BE(AT.initiatorTaskTag), targetTransferTag, flags, data);
    if (maxSendLength !== undefined) this.#parts.connection.segmentMax = maxSendLength;
  }

  /** 11.5 */
  #manage(header: Buffer): void {
    const { target, limits } = this.#parts;
    const isMuch = this.#managing >= limits.immediateMax;
    if (target === undefined || isMuch) {
      this.#responses.reject(isMuch ? REJECT.immediateCommand : REJECT.protocolError, header);
      return;
    }
    void this.#answerManagement(target, parseTaskRequest(header));
  }

  async #answerManagement(target: TargetTasks, request: TaskRequest): Promise<void> {
    this.#managing += 1;
    const done = manageTasks(this.#parts.session, target, request);
    const response = await done.catch(() => TASK_RESPONSE.rejected);
    this.#managing -= 1;
    this.#responses.taskManagement(request.itt, response);
    this.#responses.schedule();
    const isCold = request.function === TASK_FUNCTION.targetColdReset && response === TASK_RESPONSE.complete;
    if (isCold) target.endSessions();
  }

  /** 11.14 */
  #logout(header: Buffer): void {
    const { session, connection } = this.#parts;
    const itt = header.readUInt32BE(AT.initiatorTaskTag);
    const reason = (header[AT.flags] ?? 0) & 0x7f;
    const cid = header.readUInt16BE(20);
    const { defaultTime2Wait } = session.parameters;
    const answer = (response: number): void => {
      this.#responses.logout(itt, response, response === LOGOUT_RESPONSE.done ? defaultTime2Wait : 0, 0);
      this.#responses.schedule();
    };
    if (reason === LOGOUT_REASON.removeForRecovery) answer(LOGOUT_RESPONSE.noRecovery);
    else if (reason > LOGOUT_REASON.removeForRecovery) this.#responses.reject(REJECT.invalidField, header);
    else if (reason === LOGOUT_REASON.closeConnection && cid !== connection.cid) {
      const other = session.connection(cid);
      if (other === undefined) answer(LOGOUT_RESPONSE.noConnection);
      else
        void other.leave().then(() => {
          answer(LOGOUT_RESPONSE.done);
        });
    } else {
      this.#parts.onLeaving();
      void this.#leave(reason === LOGOUT_REASON.closeSession).then(() => {
        answer(LOGOUT_RESPONSE.done);
        void connection.leave();
      });
    }
  }

  /** Ends the commands of this connection, or all connections of the session but this one. */
  async #leave(isSession: boolean): Promise<void> {
    const { session, connection } = this.#parts;
    if (isSession) {
      const others = session.connections.map((cid) => session.connection(cid)).filter((other) => other !== connection);
      await Promise.all(others.map(async (other) => other?.leave()));
    }
    await session.tasks?.settle(connection);
  }
}
