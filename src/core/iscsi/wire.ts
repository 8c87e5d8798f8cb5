/** Numbers of iSCSI, as RFC 7143 has them. Sections are named where they are not plain from the name. */

/** RFC 7143, 11.2.1: the Basic Header Segment. */
export const BHS_BYTES = 48;
export const DIGEST_BYTES = 4;
/** The I bit of the first byte. */
export const IMMEDIATE = 0x40;
export const OPCODE_MASK = 0x3f;
/** The F bit of the second byte. */
export const FINAL = 0x80;
/** Initiator Task Tag and Target Transfer Tag that name nothing. */
export const NO_TAG = 0xffff_ffff;

/** What initiators send. */
export const REQUEST = {
  nopOut: 0x00,
  scsiCommand: 0x01,
  taskManagement: 0x02,
  login: 0x03,
  text: 0x04,
  dataOut: 0x05,
  logout: 0x06,
  snack: 0x10,
} as const;

/** What targets send. */
export const RESPONSE = {
  nopIn: 0x20,
  scsi: 0x21,
  taskManagement: 0x22,
  login: 0x23,
  text: 0x24,
  dataIn: 0x25,
  logout: 0x26,
  r2t: 0x31,
  async: 0x32,
  reject: 0x3f,
} as const;

/** Offsets that several PDUs share. */
export const AT = {
  flags: 1,
  totalAhsWords: 4,
  dataLength: 5,
  lun: 8,
  initiatorTaskTag: 16,
  targetTransferTag: 20,
  /** Requests. */
  cmdSn: 24,
  expStatSn: 28,
  /** Responses. */
  statSn: 24,
  expCmdSn: 28,
  maxCmdSn: 32,
} as const;

/** 11.3.1 */
export const COMMAND_FLAG = { read: 0x40, write: 0x20, attributes: 0x07 } as const;

/** 11.4.1 and 11.7.1 */
export const RESPONSE_FLAG = {
  bidiOverflow: 0x10,
  bidiUnderflow: 0x08,
  overflow: 0x04,
  underflow: 0x02,
  /** Of a Data-In PDU: it carries the status. */
  status: 0x01,
} as const;

/** Sense data in fixed format: sense key, additional sense code and qualifier. */
function fixedSense(key: number, asc: number, ascq: number): Buffer {
  const sense = Buffer.alloc(18);
  sense[0] = 0x70;
  sense[2] = key;
  sense[7] = 10;
  sense[12] = asc;
  sense[13] = ascq;
  return sense;
}

const ABORTED_COMMAND = 0x0b;

/** 11.4.7.2: what a target port has to say of a task; and what SPC-4 has codes for besides. */
export const SENSE = {
  unexpectedUnsolicited: fixedSense(ABORTED_COMMAND, 0x0c, 0x0c),
  incorrectAmount: fixedSense(ABORTED_COMMAND, 0x0c, 0x0d),
  /** Protocol service CRC error: also where data are missing (7.9). */
  crc: fixedSense(ABORTED_COMMAND, 0x47, 0x05),
  invalidTransferTag: fixedSense(ABORTED_COMMAND, 0x4b, 0x01),
  dataOffset: fixedSense(ABORTED_COMMAND, 0x4b, 0x05),
  /** Internal target failure. */
  internal: fixedSense(0x04, 0x44, 0x00),
} as const;

/** 11.5.1 */
export const TASK_FUNCTION = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
} as const;

/** 11.6.1 */
export const TASK_RESPONSE = {
  complete: 0,
  noTask: 1,
  noLun: 2,
  stillAllegiant: 3,
  noReassignment: 4,
  notSupported: 5,
  authorizationFailed: 6,
  rejected: 255,
} as const;

/** 11.9.1 */
export const ASYNC_EVENT = {
  scsi: 0,
  logoutRequest: 1,
  dropConnection: 2,
  dropSession: 3,
  negotiationRequest: 4,
} as const;

/** 11.14.1 and 11.15.1 */
export const LOGOUT_REASON = { closeSession: 0, closeConnection: 1, removeForRecovery: 2 } as const;
export const LOGOUT_RESPONSE = { done: 0, noConnection: 1, noRecovery: 2, failed: 3 } as const;

/** 11.17.1 */
export const REJECT = {
  dataDigest: 0x02,
  snack: 0x03,
  protocolError: 0x04,
  commandNotSupported: 0x05,
  immediateCommand: 0x06,
  taskInProgress: 0x07,
  invalidDataAck: 0x08,
  invalidField: 0x09,
  longOperation: 0x0a,
  waitingForLogout: 0x0c,
} as const;

/** 11.12.3: stages of a login. */
export const STAGE = { security: 0, operational: 1, fullFeature: 3 } as const;

/** 11.12.1: flags of a login request and response beside CSG and NSG. */
export const LOGIN_FLAG = { transit: 0x80, continue: 0x40 } as const;

/** 11.13.5: status class in the high byte, detail in the low one. */
export const LOGIN_STATUS = {
  success: 0x0000,
  movedTemporarily: 0x0101,
  movedPermanently: 0x0102,
  initiatorError: 0x0200,
  authenticationFailed: 0x0201,
  authorizationFailed: 0x0202,
  notFound: 0x0203,
  targetRemoved: 0x0204,
  unsupportedVersion: 0x0205,
  tooManyConnections: 0x0206,
  missingParameter: 0x0207,
  cannotInclude: 0x0208,
  sessionTypeNotSupported: 0x0209,
  sessionDoesNotExist: 0x020a,
  invalidDuringLogin: 0x020b,
  targetError: 0x0300,
  serviceUnavailable: 0x0301,
  outOfResources: 0x0302,
} as const;

/** Serial number arithmetic of 32 bits (RFC 1982): whether `a` comes before `b`. */
export const isBefore = (a: number, b: number): boolean => a !== b && (b - a) >>> 0 < 0x8000_0000;
export const plus = (sn: number, count: number): number => (sn + count) >>> 0;
