//! The bindings to libsasl2: everything unsafe of this crate, behind safe types.
//!
//! Three rules of the library shape it. What `sasl_server_init` is given must live until the process ends: it is leaked.
//! What a connection is given must outlive it: [`Connection`] holds it and frees it after `sasl_dispose`. Pointers that
//! come out belong to the connection: they are copied before anything else is called.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_ulong, c_void};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use sasl2_sys::sasl::*;

pub(super) mod client;

/// What the callbacks of the library ask.
pub(super) struct Hooks {
    /// Values by lower-case name, without the `sasl_` that imapd.conf writes before them.
    pub(super) options: HashMap<String, CString>,
    /// Everything else.
    pub(super) answers: Box<dyn Answers>,
}

/// The questions of the library that are not about options.
pub(super) trait Answers: Send + Sync {
    /// The canonical form of a user name, given the realm and the address of ours that the client came to.
    fn canonical_user(&self, user: &str, realm: Option<&str>, local: Option<IpAddr>) -> Option<String>;
    /// Whether the first may act as the second.
    fn may_act_as(&self, authenticated_as: &str, user: &str) -> bool;
    /// Takes one of the library's messages.
    fn log(&self, level: c_int, text: &str);
}

impl Hooks {
    fn option(&self, plugin: Option<&str>, option: &str) -> Option<&CStr> {
        let option = option.to_ascii_lowercase();
        let specific = plugin.and_then(|plugin| {
            let name = format!("{}_{option}", plugin.to_ascii_lowercase());
            self.options.get(&name)
        });
        specific
            .or_else(|| self.options.get(&option))
            .map(CString::as_c_str)
    }
}

/// A result code of the library that is neither success nor "go on", and its detail for the log.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: c_int,
    pub(super) detail: String,
}

/// The hooks of one set of options, and the table that shows them to the library.
pub(super) struct Callbacks {
    table: Box<[sasl_callback_t]>,
    /// The table's contexts point into this.
    _hooks: Arc<Hooks>,
}

// SAFETY: the table is never written after `new`, its contexts point to a `Hooks`, which is Sync, and the library only
// reads it.
unsafe impl Send for Callbacks {}
// SAFETY: as above.
unsafe impl Sync for Callbacks {}

impl Callbacks {
    pub(super) fn new(hooks: &Arc<Hooks>) -> Self {
        let context = Arc::as_ptr(hooks).cast_mut().cast::<c_void>();
        // SAFETY (all four): the library calls each entry with the signature that its id stands for, which is the one
        // transmuted from; the declared type of `proc_` is a placeholder for all of them.
        let entries = unsafe {
            [
                entry(
                    SASL_CB_GETOPT,
                    std::mem::transmute::<Getopt, Procedure>(getopt),
                    context,
                ),
                entry(SASL_CB_LOG, std::mem::transmute::<Log, Procedure>(log), context),
                entry(
                    SASL_CB_PROXY_POLICY,
                    std::mem::transmute::<Authorize, Procedure>(authorize),
                    context,
                ),
                entry(
                    SASL_CB_CANON_USER,
                    std::mem::transmute::<Canon, Procedure>(canon_user),
                    context,
                ),
                sasl_callback_t {
                    id: SASL_CB_LIST_END,
                    proc_: None,
                    context: ptr::null_mut(),
                },
            ]
        };
        Self {
            table: Box::new(entries),
            _hooks: Arc::clone(hooks),
        }
    }
}

type Procedure = unsafe extern "C" fn() -> c_int;
type Getopt =
    unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char, *mut *const c_char, *mut c_uint) -> c_int;
type Log = unsafe extern "C" fn(*mut c_void, c_int, *const c_char) -> c_int;
type Authorize = unsafe extern "C" fn(
    *mut sasl_conn_t,
    *mut c_void,
    *const c_char,
    c_uint,
    *const c_char,
    c_uint,
    *const c_char,
    c_uint,
    *mut sasl2_sys::prop::propctx,
) -> c_int;
type Canon = unsafe extern "C" fn(
    *mut sasl_conn_t,
    *mut c_void,
    *const c_char,
    c_uint,
    c_uint,
    *const c_char,
    *mut c_char,
    c_uint,
    *mut c_uint,
) -> c_int;

fn entry(id: c_ulong, procedure: Procedure, context: *mut c_void) -> sasl_callback_t {
    sasl_callback_t {
        id,
        proc_: Some(procedure),
        context,
    }
}

/// Initialises the library, once in a process; `callbacks` of the first caller serve what is not about a connection.
pub(super) fn init(application: &CStr, callbacks: &Arc<Callbacks>) -> Result<(), Failure> {
    static RESULT: OnceLock<c_int> = OnceLock::new();
    let code = *RESULT.get_or_init(|| {
        let forever: &'static Arc<Callbacks> = Box::leak(Box::new(Arc::clone(callbacks)));
        let name: &'static CStr = Box::leak(application.to_owned().into_boxed_c_str());
        // SAFETY: the four functions form a mutex (see them); nothing of the library was called before, because this
        // closure runs once and first. The table and the name are leaked, so they live until the process ends.
        unsafe {
            sasl_set_mutex(
                Some(mutex_new),
                Some(mutex_lock),
                Some(mutex_unlock),
                Some(mutex_free),
            );
            sasl_server_init(forever.table.as_ptr(), name.as_ptr())
        }
    });
    if code == SASL_OK {
        Ok(())
    } else {
        Err(Failure {
            code,
            detail: text_of(code),
        })
    }
}

/// One server-side connection object of the library.
pub(super) struct Connection {
    raw: *mut sasl_conn_t,
    /// Given to the library for as long as `raw` lives.
    _callbacks: Arc<Callbacks>,
    /// Likewise; the library keeps the pointer.
    #[expect(
        clippy::vec_box,
        reason = "the library keeps a pointer to one, which must not move"
    )]
    bindings: Vec<Box<Binding>>,
}

struct Binding {
    raw: sasl_channel_binding_t,
    _name: CString,
    _data: Vec<u8>,
}

// SAFETY: the library ties a connection object to no thread, only forbids its use by two at once; every method that
// touches it takes `&mut self`.
unsafe impl Send for Connection {}

/// What [`Connection::new`] tells the library.
pub(super) struct Setting<'a> {
    pub(super) service: &'a CStr,
    pub(super) server_name: &'a CStr,
    pub(super) realm: Option<&'a CStr>,
    /// `ip;port`
    pub(super) local: Option<&'a CStr>,
    /// `ip;port`
    pub(super) remote: Option<&'a CStr>,
    pub(super) success_data: bool,
}

/// One turn of an exchange.
pub(super) enum Outcome {
    Continue(Vec<u8>),
    /// Authenticated; the data is there only with `success_data`.
    Done(Option<Vec<u8>>),
}

impl Connection {
    pub(super) fn new(setting: &Setting<'_>, callbacks: &Arc<Callbacks>) -> Result<Self, Failure> {
        let or_null = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
        let flags = if setting.success_data {
            SASL_SUCCESS_DATA
        } else {
            0
        };
        let mut raw = ptr::null_mut();
        // SAFETY: every text lives through the call, and the library copies them; the callback table outlives `raw`,
        // because the new value holds it and `Drop` disposes of `raw` first.
        let code = unsafe {
            sasl_server_new(
                setting.service.as_ptr(),
                setting.server_name.as_ptr(),
                or_null(setting.realm),
                or_null(setting.local),
                or_null(setting.remote),
                callbacks.table.as_ptr(),
                flags,
                &raw mut raw,
            )
        };
        if code != SASL_OK || raw.is_null() {
            return Err(Failure {
                code,
                detail: text_of(code),
            });
        }
        Ok(Self {
            raw,
            _callbacks: Arc::clone(callbacks),
            bindings: Vec::new(),
        })
    }

    /// Which mechanisms are acceptable: flags, and the weakest and strongest layer.
    pub(super) fn set_security(
        &mut self,
        flags: c_uint,
        min_ssf: c_uint,
        max_ssf: c_uint,
    ) -> Result<(), Failure> {
        let properties = sasl_security_properties_t {
            min_ssf,
            max_ssf,
            maxbufsize: LAYER_BUFFER,
            security_flags: flags,
            property_names: ptr::null_mut(),
            property_values: ptr::null_mut(),
        };
        self.set(SASL_SEC_PROPS, (&raw const properties).cast())
    }

    /// Strength of the protection that exists already.
    pub(super) fn set_external_strength(&mut self, bits: c_uint) -> Result<(), Failure> {
        self.set(SASL_SSF_EXTERNAL, (&raw const bits).cast())
    }

    /// Who EXTERNAL is.
    pub(super) fn set_external_identity(&mut self, user: &CStr) -> Result<(), Failure> {
        self.set(SASL_AUTH_EXTERNAL, user.as_ptr().cast())
    }

    /// Binds SCRAM-…-PLUS exchanges to the TLS connection.
    pub(super) fn set_channel_binding(&mut self, name: &CStr, data: &[u8]) -> Result<(), Failure> {
        let (name, data) = (name.to_owned(), data.to_vec());
        let raw = sasl_channel_binding_t {
            name: name.as_ptr(),
            critical: 0,
            len: data.len() as c_ulong,
            data: data.as_ptr(),
        };
        // Boxed and kept: the library stores the pointer to the structure itself.
        let binding = Box::new(Binding {
            raw,
            _name: name,
            _data: data,
        });
        let result = self.set(SASL_CHANNEL_BINDING, (&raw const binding.raw).cast());
        // Those from before live on: the library still points to one of them if it did not take this.
        self.bindings.push(binding);
        result
    }

    fn set(&mut self, property: c_uint, value: *const c_void) -> Result<(), Failure> {
        // SAFETY: `raw` is live. Each caller passes the type that its property stands for; the library copies all but the
        // channel binding, which `self.bindings` keeps.
        let code = unsafe { sasl_setprop(self.raw, property as c_int, value) };
        self.check(code)
    }

    /// The mechanisms available now, separated by spaces.
    pub(super) fn mechanisms(&mut self) -> Result<String, Failure> {
        let (mut text, mut len, mut count) = (ptr::null(), 0, 0);
        // SAFETY: `raw` is live; the constants are NUL-terminated; the outputs are ours.
        let code = unsafe {
            sasl_listmech(
                self.raw,
                ptr::null(),
                c"".as_ptr(),
                c" ".as_ptr(),
                c"".as_ptr(),
                &raw mut text,
                &raw mut len,
                &raw mut count,
            )
        };
        self.check(code)?;
        // SAFETY: on success the library set `text` to a string of its own that lives until the next call.
        Ok(String::from_utf8_lossy(&unsafe { bytes(text, len) }).into_owned())
    }

    pub(super) fn start(&mut self, mechanism: &CStr, initial: Option<&[u8]>) -> Result<Outcome, Failure> {
        let (pointer, len) = match initial {
            None => (ptr::null(), 0),
            Some(initial) => (initial.as_ptr().cast(), length(initial)?),
        };
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the inputs live through the call; the outputs are ours.
        let code = unsafe {
            sasl_server_start(
                self.raw,
                mechanism.as_ptr(),
                pointer,
                len,
                &raw mut out,
                &raw mut out_len,
            )
        };
        // SAFETY: the library just set `out` and `out_len`, and nothing was called since.
        unsafe { self.outcome(code, out, out_len) }
    }

    pub(super) fn step(&mut self, response: &[u8]) -> Result<Outcome, Failure> {
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
        let code = unsafe {
            sasl_server_step(
                self.raw,
                response.as_ptr().cast(),
                length(response)?,
                &raw mut out,
                &raw mut out_len,
            )
        };
        // SAFETY: the library just set `out` and `out_len`, and nothing was called since.
        unsafe { self.outcome(code, out, out_len) }
    }

    /// # Safety
    /// `out` and `out_len` are what the library's last call on this connection returned.
    unsafe fn outcome(
        &mut self,
        code: c_int,
        out: *const c_char,
        out_len: c_uint,
    ) -> Result<Outcome, Failure> {
        // SAFETY: by this function's contract; null is taken as nothing.
        let data = (!out.is_null()).then(|| unsafe { bytes(out, out_len) });
        match code {
            SASL_CONTINUE => Ok(Outcome::Continue(data.unwrap_or_default())),
            SASL_OK => Ok(Outcome::Done(data)),
            _ => Err(self.failure(code)),
        }
    }

    /// Checks a password. Only `Ok` means that it is right: the library names a user also after a failure.
    pub(super) fn check_password(&mut self, user: &[u8], password: &[u8]) -> Result<(), Failure> {
        // The lengths go along, but verifiers behind the library expect a NUL after each text.
        let (Ok(user), Ok(password)) = (CString::new(user), CString::new(password)) else {
            return Err(Failure {
                code: SASL_BADAUTH,
                detail: "NUL in a user name or password".to_owned(),
            });
        };
        let (user_len, password_len) = (length(user.as_bytes())?, length(password.as_bytes())?);
        // SAFETY: `raw` is live, and both texts live through the call.
        let code =
            unsafe { sasl_checkpass(self.raw, user.as_ptr(), user_len, password.as_ptr(), password_len) };
        self.check(code)
    }

    /// Who the client acts as, after a success.
    pub(super) fn user(&mut self) -> Option<String> {
        self.text(SASL_USERNAME)
    }

    /// Whose credentials they were, after a success.
    pub(super) fn authenticated_as(&mut self) -> Option<String> {
        self.text(SASL_AUTHUSER)
    }

    /// The mechanism in use.
    pub(super) fn mechanism(&mut self) -> Option<String> {
        self.text(SASL_MECHNAME)
    }

    /// Strength of the negotiated layer.
    pub(super) fn layer_strength(&mut self) -> c_uint {
        self.number(SASL_SSF)
    }

    /// The most octets that `encode` takes at a time; 0 for any number.
    pub(super) fn max_encode(&mut self) -> usize {
        self.number(SASL_MAXOUTBUF) as usize
    }

    fn text(&mut self, property: c_uint) -> Option<String> {
        let value = self.property(property)?;
        // SAFETY: the property is a text of the library's own that lives until the next call.
        let text = unsafe { CStr::from_ptr(value.cast()) };
        Some(String::from_utf8_lossy(text.to_bytes()).into_owned())
    }

    fn number(&mut self, property: c_uint) -> c_uint {
        // SAFETY: the property is an unsigned int of the library's own.
        self.property(property)
            .map_or(0, |value| unsafe { *value.cast::<c_uint>() })
    }

    fn property(&mut self, property: c_uint) -> Option<*const c_void> {
        let mut value = ptr::null();
        // SAFETY: `raw` is live; the output is ours.
        let code = unsafe { sasl_getprop(self.raw, property as c_int, &raw mut value) };
        (code == SASL_OK && !value.is_null()).then_some(value)
    }

    /// Appends the protected form of `clear`, which is at most `max_encode` octets.
    pub(super) fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), Failure> {
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
        let code = unsafe {
            sasl_encode(
                self.raw,
                clear.as_ptr().cast(),
                length(clear)?,
                &raw mut out,
                &raw mut out_len,
            )
        };
        self.check(code)?;
        // SAFETY: the library just set both, and `check` calls nothing on success.
        wire.extend_from_slice(&unsafe { bytes(out, out_len) });
        Ok(())
    }

    /// Appends what `wire` completes.
    pub(super) fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), Failure> {
        let (mut out, mut out_len) = (ptr::null(), 0);
        // SAFETY: `raw` is live; the input lives through the call; the outputs are ours.
        let code = unsafe {
            sasl_decode(
                self.raw,
                wire.as_ptr().cast(),
                length(wire)?,
                &raw mut out,
                &raw mut out_len,
            )
        };
        self.check(code)?;
        // SAFETY: the library just set both, and `check` calls nothing on success.
        clear.extend_from_slice(&unsafe { bytes(out, out_len) });
        Ok(())
    }

    fn check(&mut self, code: c_int) -> Result<(), Failure> {
        if code == SASL_OK {
            Ok(())
        } else {
            Err(self.failure(code))
        }
    }

    fn failure(&mut self, code: c_int) -> Failure {
        // SAFETY: `raw` is live; the library returns null or a text of its own, which is copied at once.
        let detail = unsafe { owned(sasl_errdetail(self.raw)) };
        Failure {
            code,
            detail: detail.unwrap_or_else(|| text_of(code)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `raw` came from sasl_server_new and is disposed of here alone; what it points to is freed after this,
        // as fields are dropped after this body.
        unsafe { sasl_dispose(&raw mut self.raw) };
    }
}

/// Octets that a security layer may buffer.
const LAYER_BUFFER: c_uint = 64 * 1024;

fn length(bytes: &[u8]) -> Result<c_uint, Failure> {
    c_uint::try_from(bytes.len()).map_err(|_| Failure {
        code: SASL_BUFOVER,
        detail: "more than 4 GiB at once".to_owned(),
    })
}

fn text_of(code: c_int) -> String {
    // SAFETY: the library returns a static text for any code; no output language is asked for.
    let text = unsafe { owned(sasl_errstring(code, ptr::null(), ptr::null_mut())) };
    text.unwrap_or_else(|| format!("error {code}"))
}

/// # Safety
/// `text` is null or points to `len` readable bytes.
unsafe fn bytes(text: *const c_char, len: c_uint) -> Vec<u8> {
    if text.is_null() || len == 0 {
        return Vec::new();
    }
    // SAFETY: by this function's contract.
    unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len as usize) }.to_vec()
}

/// # Safety
/// `text` is null or a NUL-terminated string.
unsafe fn owned(text: *const c_char) -> Option<String> {
    // SAFETY: by this function's contract.
    (!text.is_null())
        .then(|| String::from_utf8_lossy(unsafe { CStr::from_ptr(text) }.to_bytes()).into_owned())
}

/// # Safety
/// Called by the library, with the context given in [`Callbacks::new`].
unsafe fn hooks<'a>(context: *mut c_void) -> Option<&'a Hooks> {
    // SAFETY: the context is the `Arc`'s pointer, and the `Callbacks` that hold the `Arc` outlive every call: a
    // connection holds them, and those of `init` are leaked.
    unsafe { context.cast::<Hooks>().as_ref() }
}

unsafe extern "C" fn getopt(
    context: *mut c_void,
    plugin: *const c_char,
    option: *const c_char,
    result: *mut *const c_char,
    len: *mut c_uint,
) -> c_int {
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the library passes our context, two texts (null for no plugin), and where to put the answer. The
        // value lives in the hooks, which outlive the connection.
        unsafe {
            let (Some(hooks), plugin, Some(option)) = (hooks(context), owned(plugin), owned(option)) else {
                return SASL_FAIL;
            };
            let Some(value) = hooks.option(plugin.as_deref(), &option) else {
                return SASL_FAIL;
            };
            if let Some(result) = result.as_mut() {
                *result = value.as_ptr();
            }
            if let Some(len) = len.as_mut() {
                *len = value.to_bytes().len() as c_uint;
            }
            SASL_OK
        }
    }))
    .unwrap_or(SASL_FAIL)
}

unsafe extern "C" fn log(context: *mut c_void, level: c_int, message: *const c_char) -> c_int {
    // Level 7 may show passwords.
    if level < SASL_LOG_PASS {
        let _ = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the library passes our context and a text.
            if let (Some(hooks), Some(text)) = unsafe { (hooks(context), owned(message)) } {
                hooks.answers.log(level, &text);
            }
        }));
    }
    SASL_OK
}

unsafe extern "C" fn authorize(
    conn: *mut sasl_conn_t,
    context: *mut c_void,
    requested: *const c_char,
    requested_len: c_uint,
    authenticated: *const c_char,
    authenticated_len: c_uint,
    _realm: *const c_char,
    _realm_len: c_uint,
    _properties: *mut sasl2_sys::prop::propctx,
) -> c_int {
    let allowed = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the library passes our context and two texts with their lengths.
        let (hooks, requested, authenticated) = unsafe {
            (
                hooks(context),
                bytes(requested, requested_len),
                bytes(authenticated, authenticated_len),
            )
        };
        let (Some(hooks), Ok(requested), Ok(authenticated)) = (
            hooks,
            String::from_utf8(requested),
            String::from_utf8(authenticated),
        ) else {
            return false;
        };
        requested == authenticated || hooks.answers.may_act_as(&authenticated, &requested)
    }))
    .unwrap_or(false);
    if allowed {
        return SASL_OK;
    }
    // SAFETY: `conn` is the connection in the middle of its call; the format has no arguments.
    unsafe {
        sasl_seterror(
            conn,
            SASL_NOLOG,
            c"user is not allowed to act for another".as_ptr(),
        )
    };
    SASL_NOAUTHZ
}

unsafe extern "C" fn canon_user(
    conn: *mut sasl_conn_t,
    context: *mut c_void,
    input: *const c_char,
    input_len: c_uint,
    _flags: c_uint,
    realm: *const c_char,
    out: *mut c_char,
    out_max: c_uint,
    out_len: *mut c_uint,
) -> c_int {
    let written = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the library passes our context, a text with its length, a realm or null, and room for `out_max`
        // octets and a NUL. Input and output may be the same buffer: the input is copied first.
        unsafe {
            let (hooks, realm) = (hooks(context)?, owned(realm));
            let user = String::from_utf8(bytes(input, input_len)).ok()?;
            let local = local_address(conn);
            let canonical = hooks.answers.canonical_user(&user, realm.as_deref(), local)?;
            let len = c_uint::try_from(canonical.len())
                .ok()
                .filter(|len| *len < out_max)?;
            if canonical.is_empty() || canonical.contains('\0') || out.is_null() {
                return None;
            }
            ptr::copy_nonoverlapping(canonical.as_ptr(), out.cast::<u8>(), canonical.len());
            *out.add(canonical.len()) = 0;
            *out_len.as_mut()? = len;
            Some(())
        }
    }))
    .unwrap_or(None);
    match written {
        Some(()) => SASL_OK,
        None => {
            // SAFETY: `conn` is the connection in the middle of its call; the format has no arguments.
            unsafe { sasl_seterror(conn, SASL_NOLOG, c"user name is not acceptable".as_ptr()) };
            SASL_BADAUTH
        }
    }
}

/// Our end of a connection, if it is TCP.
///
/// # Safety
/// `conn` is live, and used by no other thread.
unsafe fn local_address(conn: *mut sasl_conn_t) -> Option<IpAddr> {
    let mut value = ptr::null();
    // SAFETY: `conn` is live, as the caller says; the property is a text that the library keeps, or null.
    let code = unsafe { sasl_getprop(conn, SASL_IPLOCALPORT as c_int, &raw mut value) };
    if code != SASL_OK {
        return None;
    }
    // SAFETY: see above; it is copied before anything else is called.
    let text = unsafe { owned(value.cast()) }?;
    text.split_once(';')?.0.parse().ok()
}

/// A mutex that is locked and unlocked by two calls.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

unsafe extern "C" fn mutex_new() -> *mut c_void {
    Box::into_raw(Box::<Gate>::default()).cast()
}

unsafe extern "C" fn mutex_lock(mutex: *mut c_void) -> c_int {
    // SAFETY: the library passes what `mutex_new` returned, and has not freed it.
    let Some(gate) = (unsafe { mutex.cast::<Gate>().as_ref() }) else {
        return SASL_FAIL;
    };
    let mut closed = gate.closed.lock().unwrap_or_else(PoisonError::into_inner);
    while *closed {
        closed = gate.opened.wait(closed).unwrap_or_else(PoisonError::into_inner);
    }
    *closed = true;
    SASL_OK
}

unsafe extern "C" fn mutex_unlock(mutex: *mut c_void) -> c_int {
    // SAFETY: as in `mutex_lock`.
    let Some(gate) = (unsafe { mutex.cast::<Gate>().as_ref() }) else {
        return SASL_FAIL;
    };
    *gate.closed.lock().unwrap_or_else(PoisonError::into_inner) = false;
    gate.opened.notify_one();
    SASL_OK
}

unsafe extern "C" fn mutex_free(mutex: *mut c_void) {
    if !mutex.is_null() {
        // SAFETY: the library passes what `mutex_new` returned, once.
        drop(unsafe { Box::from_raw(mutex.cast::<Gate>()) });
    }
}
