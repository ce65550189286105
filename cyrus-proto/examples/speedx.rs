use std::sync::Arc; use std::time::Instant;
use cyrus_proto::imap::*; use cyrus_proto::job::*; use cyrus_proto::output::Output; use cyrus_proto::sasl::PasswordCheck; use cyrus_store::*;
fn go(s:&mut ImapSession, line:&str)->usize{ let t=Instant::now(); s.feed(format!("{line}\r\n").as_bytes(),t); let mut total=0;
 loop { match s.step(Instant::now()) { Step::Run(mut job)=>{ loop { let mut o=Output::new(); let p=job.run(&mut o,65536); let mut v=Vec::new(); while o.drain_into(&mut v,65536).unwrap()>0 { total+=v.len(); v.clear(); } if let Progress::Done(d)=p { s.done(d,Instant::now()); break } } } Step::NeedInput=>break, _=>panic!() } }
 let o=s.output(); let v=o.to_vec().unwrap(); o.clear(); let v=String::from_utf8_lossy(&v); let last=v.lines().last().unwrap_or("").chars().take(90).collect::<String>(); println!("{line}: {:?} {} bytes: {last}", t.elapsed(), total+v.len()); total }
fn main(){ let n:usize=std::env::args().nth(1).unwrap().parse().unwrap(); let dir=tempfile::tempdir_in("/dev/shm").unwrap();
 std::process::Command::new("cp").args(["-r","/tmp/imapq/fresh/conf","/tmp/imapq/fresh/spool"]).arg(dir.path()).status().unwrap();
 let store=Store::open(StoreOptions::new(dir.path().join("conf")).partition("default",dir.path().join("spool"))).unwrap();
 let auth=store.auth("user1").unwrap(); let mut mb=store.open_mailbox(&MailboxName::parse("user.user1").unwrap(),&auth).unwrap();
 let t=Instant::now();
 for b in 0..n/500 { mb.append((0..500).map(|i| NewMessage::from_bytes(format!("From: A <a{i}@example.org>\r\nTo: b@example.org, c@example.org\r\nSubject: message {b} {i}\r\nDate: Wed, 1 Jan 2020 12:00:00 +0000\r\nMessage-ID: <{b}.{i}@x>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbody {i}\r\n").into_bytes()))).unwrap(); }
 println!("append {:?}",t.elapsed());
 let mut o=ImapOptions::new("x"); o.allowplaintext=true;
 let service=Arc::new(ImapService{store,options:o,authenticator:Arc::new(PasswordCheck::new(|_:&str,_:&[u8]| true)),log:Arc::new(cyrus_store::log::NoLog)});
 println!("session {} bytes", std::mem::size_of::<ImapSession>());
 let mut s=ImapSession::new(service); s.begin(&Link::detached(Peer::Unix),Instant::now());
 for l in ["a LOGIN user1 x","a SELECT INBOX","a SELECT INBOX","a SELECT INBOX","a FETCH 1:* FLAGS","a FETCH 1:* FLAGS","a FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)","a FETCH 1:* (ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE)","a FETCH 1:* BODY.PEEK[HEADER.FIELDS (From Subject)]","a NOOP","a UID SEARCH ALL","a SEARCH SUBJECT foo","a SEARCH UNSEEN","a STORE 1:* +FLAGS.SILENT (\\Flagged)","a STORE 1:50000 +FLAGS (\\Deleted)","a EXPUNGE","a FETCH 1:100 BODY[]"] { go(&mut s,l); } }
