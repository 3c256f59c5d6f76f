/**
 * Known answers of the AEAD algorithms, by which a provider is tested before it is used.
 *
 * All are hexadecimal; `sealed` is the ciphertext with its tag.
 */
import type { AeadAlgorithm } from "../../sys/mod.ts";

/** KnownAnswer is one published example. */
export interface KnownAnswer {
  readonly source: string;
  readonly algorithm: AeadAlgorithm;
  readonly key: string;
  readonly nonce: string;
  readonly additional: string;
  readonly plain: string;
  readonly sealed: string;
}

const GCM = "McGrew, Viega: The Galois/Counter Mode of Operation (submitted to NIST), appendix B, test case";
const KEY_3 = "feffe9928665731c6d6a8f9467308308";
const NONCE_3 = "cafebabefacedbaddecaf888";
const PLAIN_3 =
  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const PLAIN_4 = PLAIN_3.slice(0, 120);
const ADDITIONAL_4 = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const CIPHER_3 =
  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e" +
  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985";
const CIPHER_15 =
  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad";
const zeros = (bytes: number) => "00".repeat(bytes);

/** knownAnswers are those that every provider must give. */
export const knownAnswers: readonly KnownAnswer[] = [
  {
    source: "RFC 8439 section 2.8.2",
    algorithm: "chacha20-poly1305",
    key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    nonce: "070000004041424344454647",
    additional: "50515253c0c1c2c3c4c5c6c7",
    plain:
      "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666657220" +
      "796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e",
    sealed:
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5" +
      "b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116" +
      "1ae10b594f09e26a7e902ecbd0600691",
  },
  {
    source: "RFC 8439 appendix A.5",
    algorithm: "chacha20-poly1305",
    key: "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
    nonce: "000000000102030405060708",
    additional: "f33388860000000000004e91",
    plain:
      "496e7465726e65742d4472616674732061726520647261667420646f63756d656e74732076616c696420666f722061206d6178696d756d206f6620" +
      "736978206d6f6e74687320616e64206d617920626520757064617465642c207265706c616365642c206f72206f62736f6c65746564206279206f74" +
      "68657220646f63756d656e747320617420616e792074696d652e20497420697320696e617070726f70726961746520746f2075736520496e746572" +
      "6e65742d447261667473206173207265666572656e6365206d6174657269616c206f7220746f2063697465207468656d206f74686572207468616e" +
      "206173202fe2809c776f726b20696e2070726f67726573732e2fe2809d",
    sealed:
      "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb24c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b" +
      "7f355894cf332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c8559797a06ef4f0ef61c186324e2b3506383606907b6a7c" +
      "02b0f9f6157b53c867e4b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523eaf4534d7f83fa1155b0047718cbc546a0d" +
      "072b04b3564eea1b422273f548271a0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a1049e617d91d361094fa68f0ff" +
      "77987130305beaba2eda04df997b714d6c6f2c29a6ad5cb4022b02709b" +
      "eead9d67890cbb22392336fea1851f38",
  },
  {
    source: `${GCM} 1`,
    algorithm: "aes-128-gcm",
    key: zeros(16),
    nonce: zeros(12),
    additional: "",
    plain: "",
    sealed: "58e2fccefa7e3061367f1d57a4e7455a",
  },
  {
    source: `${GCM} 3`,
    algorithm: "aes-128-gcm",
    key: KEY_3,
    nonce: NONCE_3,
    additional: "",
    plain: PLAIN_3,
    sealed: `${CIPHER_3}4d5c2af327cd64a62cf35abd2ba6fab4`,
  },
  {
    source: `${GCM} 4`,
    algorithm: "aes-128-gcm",
    key: KEY_3,
    nonce: NONCE_3,
    additional: ADDITIONAL_4,
    plain: PLAIN_4,
    sealed: `${CIPHER_3.slice(0, 120)}5bc94fbc3221a5db94fae95ae7121a47`,
  },
  {
    source: `${GCM} 14`,
    algorithm: "aes-256-gcm",
    key: zeros(32),
    nonce: zeros(12),
    additional: "",
    plain: zeros(16),
    sealed: "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
  },
  {
    source: `${GCM} 15`,
    algorithm: "aes-256-gcm",
    key: KEY_3 + KEY_3,
    nonce: NONCE_3,
    additional: "",
    plain: PLAIN_3,
    sealed: `${CIPHER_15}b094dac5d93471bdec1a502270e3cc6c`,
  },
  {
    source: `${GCM} 16`,
    algorithm: "aes-256-gcm",
    key: KEY_3 + KEY_3,
    nonce: NONCE_3,
    additional: ADDITIONAL_4,
    plain: PLAIN_4,
    sealed: `${CIPHER_15.slice(0, 120)}76fc6ece0f4e1768cddf8853bb2d551b`,
  },
  {
    // Tunnel mode of RFC 4106: the nonce is salt and IV, the additional data SPI and sequence number.
    source: "draft-mcgrew-gcm-test-01, first case",
    algorithm: "aes-128-gcm",
    key: "4c80cdefbb5d10da906ac73c3613a634",
    nonce: "2e443b684956ed7e3b244cfe",
    additional: "000043218765432100000000",
    plain:
      "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f75647003736970" +
      "0963796265726369747902646b0000210001010202" +
      "01",
    sealed:
      "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15" +
      "b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
  },
];
