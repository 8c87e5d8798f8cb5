/** Sense data (SPC-4, 4.5): why a command failed, and its two formats. */

/** SPC-4, 4.5.6 */
export const SENSE_KEY = {
  noSense: 0x0,
  notReady: 0x2,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  copyAborted: 0xa,
  abortedCommand: 0xb,
  miscompare: 0xe,
} as const;

/** Additional sense code and its qualifier, as one number of 16 bits (SPC-4, annex F.2). */
export const ASC = {
  none: 0x0000,
  operationInProgress: 0x0016,
  becomingReady: 0x0401,
  manualInterventionRequired: 0x0403,
  communicationTimeout: 0x0801,
  unreachableCopyTarget: 0x0804,
  writeError: 0x0c00,
  copyTargetNotReachable: 0x0d02,
  infoUnitInvalid: 0x0e03,
  unrecoveredReadError: 0x1100,
  parameterListLength: 0x1a00,
  miscompareDuringVerify: 0x1d00,
  invalidOpcode: 0x2000,
  lbaOutOfRange: 0x2100,
  invalidFieldInCdb: 0x2400,
  lunNotSupported: 0x2500,
  invalidFieldInParameterList: 0x2600,
  invalidRelease: 0x2604,
  tooManyCscds: 0x2606,
  unsupportedCscdType: 0x2607,
  tooManySegments: 0x2608,
  unsupportedSegmentType: 0x2609,
  inlineDataLength: 0x260b,
  writeProtected: 0x2700,
  softwareWriteProtected: 0x2702,
  spaceAllocationFailed: 0x2707,
  powerOn: 0x2900,
  busDeviceReset: 0x2903,
  modeParametersChanged: 0x2a01,
  reservationsPreempted: 0x2a03,
  reservationsReleased: 0x2a04,
  registrationsPreempted: 0x2a05,
  capacityChanged: 0x2a09,
  commandsCleared: 0x2f00,
  savingNotSupported: 0x3900,
  internalTargetFailure: 0x4400,
  insufficientRegistrationResources: 0x5504,
} as const;

/** Which byte or bit of the CDB or of the parameter list is not good (SPC-4, 4.5.2.4.2). */
export interface FieldPointer {
  readonly isInCdb: boolean;
  readonly byte: number;
  readonly bit?: number;
}

export interface Sense {
  readonly key: number;
  /** One of `ASC`. */
  readonly code: number;
  /** For MISCOMPARE: the first byte of the data that differs. */
  readonly information?: number;
  readonly field?: FieldPointer;
}

/** A field of the CDB is not good; `bit` is its highest one. */
export const invalidField = (byte: number, bit?: number): Sense => ({
  key: SENSE_KEY.illegalRequest,
  code: ASC.invalidFieldInCdb,
  field: { isInCdb: true, byte, ...(bit === undefined ? {} : { bit }) },
});

export const invalidParameter = (byte: number, bit?: number): Sense => ({
  key: SENSE_KEY.illegalRequest,
  code: ASC.invalidFieldInParameterList,
  field: { isInCdb: false, byte, ...(bit === undefined ? {} : { bit }) },
});

export const illegalRequest = (code: number): Sense => ({ key: SENSE_KEY.illegalRequest, code });

const FIXED_BYTES = 18;

/** Fixed format (4.5.3). What is beyond 32 bits of the information is left out, as is its VALID bit. */
export function fixedSense({ key, code, information, field }: Sense): Buffer {
  const bytes = Buffer.alloc(FIXED_BYTES);
  bytes[0] = 0x70;
  bytes[2] = key;
  bytes[7] = FIXED_BYTES - 8;
  bytes.writeUInt16BE(code, 12);
  if (information !== undefined && information <= 0xffff_ffff) {
    bytes[0] = 0xf0;
    bytes.writeUInt32BE(information, 3);
  }
  if (field !== undefined) writeFieldPointer(bytes, 15, field);
  return bytes;
}

/** Descriptor format (4.5.2). */
export function descriptorSense({ key, code, information, field }: Sense): Buffer {
  const head = Buffer.alloc(8);
  head[0] = 0x72;
  head[1] = key;
  head.writeUInt16BE(code, 2);
  const descriptors: Buffer[] = [];
  if (information !== undefined) {
    const bytes = Buffer.alloc(12);
    bytes[1] = 0x0a;
    bytes[2] = 0x80;
    bytes.writeBigUInt64BE(BigInt(information), 4);
    descriptors.push(bytes);
  }
  if (field !== undefined) {
    const bytes = Buffer.alloc(8);
    bytes[0] = 0x02;
    bytes[1] = 0x06;
    writeFieldPointer(bytes, 4, field);
    descriptors.push(bytes);
  }
  const whole = Buffer.concat([head, ...descriptors]);
  whole[7] = whole.length - 8;
  return whole;
}

function writeFieldPointer(bytes: Buffer, at: number, { isInCdb, byte, bit }: FieldPointer): void {
  bytes[at] = 0x80 | (isInCdb ? 0x40 : 0) | (bit === undefined ? 0 : 0x08 | bit);
  bytes.writeUInt16BE(byte, at + 1);
}
